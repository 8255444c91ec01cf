import { headers, httpAddress, integer, oneOf, optional, text } from './parsers.ts';
import type { Settings } from './settings.ts';

/** The settings of the metrics that a worker exports. The API exports its own at its port. */
export const METRICS = {
  metricsPort: {
    variable: 'FINDERY_METRICS_PORT',
    default: '',
    value: optional(integer(0, 65_535)),
    description:
      'Port at which a worker serves `/metrics` ([metrics](metrics.md)). 0 picks a free port, which the ' +
      'log names. Without it, a worker serves none. Each worker of a machine needs a port of its own.',
  },
  metricsHost: {
    variable: 'FINDERY_METRICS_HOST',
    default: '127.0.0.1',
    value: text('a host name or an IP address'),
    description: 'Address that this port listens on. It asks for no key.',
  },
} satisfies Settings;

/** The settings of logs and traces. */
export const LOGGING = {
  logLevel: {
    variable: 'LOG_LEVEL',
    default: 'info',
    value: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    description: 'Least severe level that is logged.',
  },
  traceEndpoint: {
    variable: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    default: '',
    value: optional(httpAddress),
    description:
      'OpenTelemetry receiver of traces (OTLP/HTTP with JSON), as `http://127.0.0.1:4318`. Without it, ' +
      'traces are off ([operations](operations.md#traces)).',
  },
  traceHeaders: {
    variable: 'OTEL_EXPORTER_OTLP_HEADERS',
    default: '',
    value: headers,
    description: 'Headers of requests to the receiver, for example a key. Values are percent-encoded.',
  },
} satisfies Settings;
