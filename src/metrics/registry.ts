import { collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client';
import { VERSION } from '../version.ts';

/** Media type of `renderMetrics`: Prometheus' text format. */
export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** Interval at which the share of busy time is read. The default, 100 ms, is for short spikes. */
const UTILIZATION_MS = 1000;

let ofProcess: Registry | null = null;

/**
 * What Node tells of this process: processor time, memory, event loop delay, garbage collection.
 * Its observers run until the process ends, so there is one for all services of a process.
 */
function processRegistry(): Registry {
  if (ofProcess) return ofProcess;
  ofProcess = new Registry();
  collectDefaultMetrics({ register: ofProcess, eventLoopUtilizationTimeout: UTILIZATION_MS });
  return ofProcess;
}

/**
 * Opens the metrics of a service of this process, with the gauge that names its version.
 * @param service label of that gauge
 */
export function openRegistry(service: 'api' | 'worker'): Registry {
  processRegistry();
  const registry = new Registry();
  const build = new Gauge({
    name: 'findery_build_info',
    help: 'Always 1; the labels say which release runs.',
    labelNames: ['service', 'version'],
    registers: [registry],
  });
  build.set({ service, version: VERSION }, 1);
  return registry;
}

/** The metrics of a service and of its process, as Prometheus reads them. */
export async function renderMetrics(registry: Registry): Promise<string> {
  const parts = await Promise.all([registry.metrics(), processRegistry().metrics()]);
  return parts.join('\n');
}
