import { type Span as OtelSpan, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { VERSION } from '../version.ts';
import { OtlpExporter } from './otlp-exporter.ts';
import { formatTraceparent, parseTraceparent } from './traceparent.ts';
import type { Attributes, Span, SpanOptions, TraceReceiver, Tracer } from './tracer.ts';

/** Time after which spans are sent. */
const SEND_INTERVAL_MS = 1000;

const KINDS = { server: SpanKind.SERVER, consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL } as const;

/** Records spans with OpenTelemetry. Spans that cannot be sent are dropped. */
export class OtlpTracer implements Tracer {
  readonly #provider: TracerProvider;
  readonly #tracer: ReturnType<TracerProvider['getTracer']>;

  constructor({ endpoint, headers }: TraceReceiver, service: string) {
    const exporter = new OtlpExporter(`${endpoint.replace(/\/+$/, '')}/v1/traces`, headers);
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': service, 'service.version': VERSION }),
      spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: SEND_INTERVAL_MS })],
    });
    this.#tracer = this.#provider.getTracer('findery', VERSION);
  }

  start(name: string, { parent, kind = 'internal', attributes, at }: SpanOptions = {}): Span {
    const remote = parseTraceparent(parent);
    const context = remote
      ? trace.setSpanContext(ROOT_CONTEXT, {
          traceId: remote.traceId,
          spanId: remote.spanId,
          traceFlags: remote.flags,
          isRemote: true,
        })
      : ROOT_CONTEXT;
    return new OtlpSpan(
      this.#tracer.startSpan(name, { kind: KINDS[kind], attributes, startTime: at }, context),
    );
  }

  async close(): Promise<void> {
    await this.#provider.shutdown().catch(() => {});
  }
}

class OtlpSpan implements Span {
  readonly #span: OtelSpan;
  readonly traceparent: string;

  constructor(span: OtelSpan) {
    this.#span = span;
    const { traceId, spanId, traceFlags } = span.spanContext();
    this.traceparent = formatTraceparent({ traceId, spanId, flags: traceFlags });
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  fail(message: string): void {
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
  }

  end(at?: number): void {
    this.#span.end(at);
  }
}
