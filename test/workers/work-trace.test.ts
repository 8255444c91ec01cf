import { describe, expect, it } from 'vitest';
import type { Attributes, SpanOptions, Tracer } from '../../src/tracing/tracer.ts';
import { WorkTrace } from '../../workers/work-trace.ts';

interface Recorded extends SpanOptions {
  readonly name: string;
  set: Attributes;
  failure?: string;
  endedAt?: number | 'now';
}

/** A tracer that keeps its spans; their `traceparent` is their name and number. */
function recordingTracer(): { readonly tracer: Tracer; readonly spans: Recorded[] } {
  const spans: Recorded[] = [];
  const tracer: Tracer = {
    start(name, options = {}) {
      const span: Recorded = { name, ...options, set: {} };
      spans.push(span);
      return {
        traceparent: `${name}${spans.length}`,
        set: (attributes) => Object.assign(span.set, attributes),
        fail: (message) => Object.assign(span, { failure: message }),
        end: (at) => Object.assign(span, { endedAt: at ?? 'now' }),
      };
    },
    close: async () => {},
  };
  return { tracer, spans };
}

const BATCH = { size: 4, startedAt: 1000, stages: { denoise: 30, decode: 20, reward: 0 } };

describe('the trace of an attempt', () => {
  it('has steps below it, and the stages of a batch, one after the other, below their step', async () => {
    const { tracer, spans } = recordingTracer();
    const trace = new WorkTrace(tracer, 'job', 'request', {});
    await trace.step('evaluate', async () => trace.addBatches([BATCH]));
    const failing = trace.step('store', async () => {
      throw new Error('disk full');
    });
    await expect(failing).rejects.toThrow('disk full');
    trace.end('disk full');
    expect(spans).toMatchObject([
      { name: 'job', parent: 'request', kind: 'consumer', failure: 'disk full', endedAt: 'now' },
      { name: 'evaluate', parent: 'job1', endedAt: 'now' },
      {
        name: 'denoise',
        parent: 'evaluate2',
        at: 1000,
        endedAt: 1030,
        attributes: { 'findery.batch_size': 4 },
      },
      { name: 'decode', parent: 'evaluate2', at: 1030, endedAt: 1050 },
      { name: 'store', parent: 'job1', failure: 'disk full', endedAt: 'now' },
    ]);
  });

  it('has at most 1000 spans, and says how many were left out', async () => {
    const { tracer, spans } = recordingTracer();
    const trace = new WorkTrace(tracer, 'job', undefined, {});
    for (let i = 0; i < 400; i++) await trace.step('evaluate', async () => trace.addBatches([BATCH]));
    trace.end();
    expect(spans).toHaveLength(1001);
    expect(spans[0].set).toEqual({ 'findery.dropped_spans': 200 });
  });

  it('does nothing while traces are off', async () => {
    const trace = new WorkTrace(null, 'job', undefined, {});
    expect(await trace.step('evaluate', async () => 7)).toBe(7);
    trace.addBatches([BATCH]);
    trace.end();
  });
});
