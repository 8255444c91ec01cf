import { integer, optional, text } from './parsers.ts';
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
