import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

/** Time after which a receiver that does not answer is given up. */
const TIMEOUT_MS = 10_000;

/** `ExportResultCode` of OpenTelemetry. */
const RESULT = { success: 0, failed: 1 } as const;

/**
 * Sends spans as OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/). OpenTelemetry's
 * own exporter brings the SDKs of logs and metrics, which are half of its files.
 */
export class OtlpExporter implements SpanExporter {
  readonly #url: string;
  readonly #headers: { readonly [name: string]: string };

  constructor(url: string, headers: { readonly [name: string]: string }) {
    this.#url = url;
    this.#headers = { ...headers, 'content-type': 'application/json' };
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.#send(spans).then(
      () => done({ code: RESULT.success }),
      (error: Error) => done({ code: RESULT.failed, error }),
    );
  }

  async shutdown(): Promise<void> {}

  async #send(spans: readonly ReadableSpan[]): Promise<void> {
    const response = await fetch(this.#url, {
      method: 'POST',
      headers: this.#headers,
      body: JSON.stringify(encodeSpans(spans)),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`The receiver of traces answered ${response.status}.`);
  }
}

/** Spans of one process, which share a resource and a scope, as `ExportTraceServiceRequest`. */
function encodeSpans(spans: readonly ReadableSpan[]): object {
  const [{ resource, instrumentationScope: scope }] = spans;
  return {
    resourceSpans: [
      {
        resource: { attributes: encodeAttributes(resource.attributes) },
        scopeSpans: [{ scope: { name: scope.name, version: scope.version }, spans: spans.map(encodeSpan) }],
      },
    ],
  };
}

function encodeSpan(span: ReadableSpan): object {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    flags: traceFlags,
    name: span.name,
    kind: span.kind + 1, // in OTLP, 0 is "unspecified"
    startTimeUnixNano: nanoseconds(span.startTime),
    endTimeUnixNano: nanoseconds(span.endTime),
    attributes: encodeAttributes(span.attributes),
    status: span.status,
  };
}

/** More digits than a number has, so JSON takes them as a string. */
function nanoseconds([seconds, rest]: readonly [number, number]): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(Math.round(rest)));
}

function encodeAttributes(attributes: { readonly [name: string]: unknown }): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: encodeValue(value) }));
}

function encodeValue(value: unknown): object {
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number')
    return Number.isInteger(value) ? { intValue: value } : { doubleValue: value };
  return { stringValue: String(value) };
}
