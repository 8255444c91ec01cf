import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { quantile } from '../src/numerics/statistics.ts';
import { benchEngine } from './engine.ts';
import { benchService } from './service.ts';

/**
 * `npm run bench [engine] [service]`: prints the results of both benchmarks, or of the named one,
 * as a table.
 */
const selected = process.argv.slice(2);
const isSelected = (name: string) => selected.length === 0 || selected.includes(name);
const unknown = selected.filter((name) => !['engine', 'service'].includes(name));
if (unknown.length > 0) {
  console.error(`There is no benchmark "${unknown.join('", "')}"; it takes engine and service.`);
  process.exit(2);
}

const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
const [{ model }] = cpus();
console.log(
  `${cpus().length} cores (${model.trim()}), ${process.platform} ${process.arch}, ` +
    `Node.js ${process.version}, ONNX Runtime ${version}\n`,
);
console.log('| what | value | target |\n| --- | --- | --- |');
const row = (...cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);

if (isSelected('engine')) {
  const { threads, batchSize, images, steps, guidanceScale, engine, bare, ratios } = await benchEngine();
  const setting =
    `${images} images in batches of ${batchSize}, ${steps} steps, guidance ${guidanceScale}, ` +
    `${threads} threads; median of ${ratios.length}`;
  row(`engine, images/s (${setting})`, engine.toFixed(2), '');
  row('bare loop of session.run on the same graphs, images/s', bare.toFixed(2), '');
  const spread = `${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}`;
  row(
    'engine / bare, median of the rounds (minimum to maximum)',
    `${quantile(ratios, 0.5).toFixed(3)} (${spread})`,
    '> 0.95',
  );
}
if (isSelected('service')) {
  const { queueLatencies, read } = await benchService();
  const milliseconds = (value: number) => `${value.toFixed(1)} ms`;
  row(
    `POST /v1/jobs to the first denoising step, idle worker, median of ${queueLatencies.length} (maximum)`,
    `${milliseconds(quantile(queueLatencies, 0.5))} (${milliseconds(Math.max(...queueLatencies))})`,
    '< 50 ms',
  );
  const load =
    `${read.connections} connections, ${read.requestsPerSecond.toFixed(0)} requests/s, ` +
    `${read.failed} failed`;
  row(`GET /v1/jobs/{id} while it runs, p50 (${load})`, milliseconds(read.p50), '');
  row('the same, p99', milliseconds(read.p99), '< 15 ms');
  row('the same, p99, on an idle worker', milliseconds(read.idle.p99), '');
  row('images/s of that job meanwhile', read.imagesPerSecond.toFixed(2), '');
}
process.exit(0);
