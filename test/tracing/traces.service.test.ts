import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import { startTestService, type TestService } from '../support/test-service.ts';
import { type CollectedSpan, startTraceCollector } from '../support/trace-collector.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';

let collector: Awaited<ReturnType<typeof startTraceCollector>>;
let service: TestService;
beforeAll(async () => {
  collector = await startTraceCollector();
  service = await startTestService({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b',
  });
  await service.startWorker();
});
afterAll(async () => {
  await service?.close();
  await collector?.close();
});

const ofTrace = () => collector.spans.filter(({ traceId }) => traceId === TRACE);
const named = (name: string) => ofTrace().filter((span) => span.name === name);
const duration = ({ startTimeUnixNano: start, endTimeUnixNano: end }: CollectedSpan) =>
  Number(end) - Number(start);

describe('the trace of a job', () => {
  it('goes from the request of the caller through the queue to each batch of the engine', async () => {
    const response = await fetch(`${service.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', traceparent: `00-${TRACE}-${CALLER}-01` },
      body: JSON.stringify({
        prompt: 'a green dog on the grass',
        seed: 7,
        budget: { images: 8 },
        sampler: { steps: 2 },
        reportDraws: 2,
        samples: 1,
      }),
    });
    const returned = String(response.headers.get('traceparent'));
    const job = (await response.json()) as Job;
    expect(JSON.stringify(job)).not.toContain(TRACE);
    const ended = await new Client(service.url).follow(job, () => {});
    expect(ended.status).toBe('succeeded');
    await expect.poll(() => named('job').length, { timeout: 10_000 }).toBe(1);
    await expect.poll(() => named('POST /v1/jobs').length, { timeout: 10_000 }).toBe(1);

    expect([...collector.keys]).toEqual(['a b']);
    const [request] = named('POST /v1/jobs');
    expect(request).toMatchObject({ service: 'findery-api', kind: 2, parentSpanId: CALLER });
    expect(returned).toBe(`00-${TRACE}-${request.spanId}-01`);
    const [attempt] = named('job');
    expect(attempt).toMatchObject({ service: 'findery-worker', kind: 5, parentSpanId: request.spanId });
    expect(attempt.status.code ?? 0).toBe(0);
    expect(attempt.attributes).toContainEqual({ key: 'findery.job_id', value: { stringValue: job.id } });

    for (const name of ['text', 'evaluate', 'store'])
      for (const { parentSpanId } of named(name)) expect(parentSpanId, name).toBe(attempt.spanId);
    expect(named('text')).toHaveLength(1);
    // One for each iteration, two for the report, one for the sample.
    const evaluations = named('evaluate');
    expect(evaluations).toHaveLength(ended.progress.iteration + 3);
    expect(named('store').length).toBeGreaterThanOrEqual(ended.progress.iteration + 2);
    for (const stage of ['denoise', 'decode', 'reward']) {
      const parents = new Set(named(stage).map(({ parentSpanId }) => parentSpanId));
      expect(parents, stage).toEqual(new Set(evaluations.map(({ spanId }) => spanId)));
    }
    const stages = ofTrace().filter(({ parentSpanId }) => parentSpanId === evaluations[0].spanId);
    const spent = stages.reduce((sum, span) => sum + duration(span), 0);
    expect(spent).toBeGreaterThan(0);
    expect(spent).toBeLessThanOrEqual(duration(evaluations[0]) * 1.05 + 2e6);
  });

  it('begins at the request without a traceparent, and is not recorded if the caller does not', async () => {
    const get = async (headers: Record<string, string>) => {
      const { headers: answer } = await fetch(`${service.url}/v1/queues`, { headers });
      return String(answer.get('traceparent'));
    };
    expect(await get({})).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(await get({ traceparent: 'nonsense' })).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const other = 'a'.repeat(32);
    expect(await get({ traceparent: `00-${other}-${CALLER}-00` })).toMatch(new RegExp(`^00-${other}-.*-00$`));
    const health = await fetch(`${service.url}/healthz`);
    expect(health.headers.get('traceparent')).toBeNull();
    await expect.poll(() => collector.spans.filter(({ name }) => name === 'GET /v1/queues').length).toBe(2);
    expect(collector.spans.some(({ traceId }) => traceId === other)).toBe(false);
  });
});
