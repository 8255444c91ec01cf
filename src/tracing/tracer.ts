/** Attributes of a span, by OpenTelemetry's names where it has one. */
export type Attributes = { readonly [name: string]: string | number | boolean };

/** How a span begins. */
export interface SpanOptions {
  /** `traceparent` of the span that it belongs to; left out or invalid: a new trace begins. */
  readonly parent?: string;
  /** What the span stands for: a request, work from a queue, or a part of them (default). */
  readonly kind?: 'server' | 'consumer' | 'internal';
  readonly attributes?: Attributes;
  /** Start in milliseconds since 1970; default: now. */
  readonly at?: number;
}

/** One operation of a trace. */
export interface Span {
  /** The header with which others continue the trace below this span. */
  readonly traceparent: string;
  set(attributes: Attributes): void;
  /** Marks the operation as failed. */
  fail(message: string): void;
  /** @param at milliseconds since 1970; default: now */
  end(at?: number): void;
}

/** Records the spans of one process. Where traces are off there is none: null. */
export interface Tracer {
  start(name: string, options?: SpanOptions): Span;
  /** Sends what is left. Never fails: traces do not decide about work. */
  close(): Promise<void>;
}

/** Where spans are sent. */
export interface TraceReceiver {
  /** Base address; spans go to `/v1/traces` below it. */
  readonly endpoint: string;
  /** Sent with them, for example a key. */
  readonly headers: { readonly [name: string]: string };
}

/**
 * Opens the tracer of a process.
 * @param config `traceEndpoint` null: traces are off, and nothing is loaded
 * @param service name of the process in traces: `findery-api` or `findery-worker`
 */
export async function openTracer(
  {
    traceEndpoint: endpoint,
    traceHeaders: headers,
  }: { readonly traceEndpoint: string | null; readonly traceHeaders: TraceReceiver['headers'] },
  service: 'findery-api' | 'findery-worker',
): Promise<Tracer | null> {
  if (endpoint === null) return null;
  const { OtlpTracer } = await import('./otlp-tracer.ts');
  return new OtlpTracer({ endpoint, headers }, service);
}
