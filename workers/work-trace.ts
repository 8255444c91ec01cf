import type { BatchRun } from '../src/engine/messages.ts';
import type { Attributes, Span, Tracer } from '../src/tracing/tracer.ts';

/** Most spans of one attempt; what comes later is counted in `findery.dropped_spans`. */
const MAX_SPANS = 1000;

/** Stages of a batch in their order. */
const STAGES = ['denoise', 'decode', 'reward'] as const;

/**
 * The trace of one attempt at a job or a batch of samples, below the request that created it.
 * Without a tracer it does nothing.
 */
export class WorkTrace {
  readonly #tracer: Tracer | null;
  readonly #root: Span | undefined;
  /** The span of the step that runs now. */
  #current: Span | undefined;
  #spans = 0;
  #dropped = 0;

  /** @param parent `traceparent` of the request */
  constructor(tracer: Tracer | null, name: string, parent: string | undefined, attributes: Attributes) {
    this.#tracer = tracer;
    this.#root = tracer?.start(name, { kind: 'consumer', parent, attributes });
    this.#current = this.#root;
  }

  /** Runs a step of the work in a span. Steps of one attempt run one after the other, or nested. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const span = this.#start(name);
    if (!span) return work();
    const outer = this.#current;
    this.#current = span;
    try {
      return await work();
    } catch (error) {
      span.fail(error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      this.#current = outer;
      span.end();
    }
  }

  /** Adds the batches that the engine ran in the current step: a span for each stage. */
  addBatches(batches: readonly BatchRun[]): void {
    for (const { size, startedAt, stages } of batches) {
      let at = startedAt;
      for (const name of STAGES) {
        if (stages[name] === 0) continue;
        this.#start(name, at, { 'findery.batch_size': size })?.end(at + stages[name]);
        at += stages[name];
      }
    }
  }

  /** Ends the attempt. @param reason why it did not succeed */
  end(reason?: string): void {
    if (this.#dropped > 0) this.#root?.set({ 'findery.dropped_spans': this.#dropped });
    if (reason !== undefined) this.#root?.fail(reason);
    this.#root?.end();
  }

  #start(name: string, at?: number, attributes?: Attributes): Span | undefined {
    if (!this.#tracer) return undefined;
    if (++this.#spans <= MAX_SPANS)
      return this.#tracer.start(name, { parent: this.#current?.traceparent, at, attributes });
    this.#dropped++;
    return undefined;
  }
}
