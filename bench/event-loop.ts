import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { startApi } from '../src/api/server.ts';
import { ensureRedis } from '../src/cli/redis/ensure-redis.ts';
import { readConfig } from '../src/config/config.ts';
import { encodePolicy } from '../src/storage/policy-file.ts';
import { encodeSafetensors } from '../src/storage/safetensors/encode.ts';
import { openStore } from '../src/store/store.ts';

/**
 * How long large requests hold the event loop of the API: rewards of a job of 100,000 images in
 * every format, alone and eight at once, and uploads of 64 MB. The requests come from a thread, so
 * that the client's work is not measured.
 *
 *     node --disable-warning=ExperimentalWarning bench/event-loop.ts
 */
const IMAGES = 100_000;

const folder = await mkdtemp(join(tmpdir(), 'findery-loop-'));
const redis = await ensureRedis({ url: process.env.REDIS_URL, dataDir: folder, log: () => {} });
const config = { ...readConfig({ FINDERY_DATA: folder }), port: 0, redisPrefix: `loop-${process.pid}` };
const api = await startApi({ config, redisUrl: redis.url, logger: pino({ level: 'silent' }) });
const store = await openStore(redis.url, config.redisPrefix, { failFast: true });
const client = new Worker(
  `const { parentPort, workerData } = require('node:worker_threads');
  parentPort.on('message', async ({ path, method, body, count }) => {
    const answers = await Promise.all(Array.from({ length: count }, async () => {
      const headers = body ? { 'content-type': 'application/octet-stream' } : {};
      const response = await fetch(workerData + path, { method, body, headers });
      return [response.status, (await response.arrayBuffer()).byteLength];
    }));
    parentPort.postMessage(answers[0]);
  });`,
  { eval: true, workerData: api.url },
);

interface Call {
  readonly path: string;
  readonly method?: string;
  readonly body?: Uint8Array;
  readonly count?: number;
}

async function measure(label: string, call: Call): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const answered = new Promise<unknown>((resolve) => client.once('message', resolve));
  client.postMessage({ method: 'GET', count: 1, ...call });
  delay.enable();
  const start = performance.now();
  const answer = await answered;
  const milliseconds = performance.now() - start;
  delay.disable();
  console.log(
    `${label.padEnd(24)} ${String(answer).padEnd(14)} ${milliseconds.toFixed(0).padStart(6)} ms in all, ` +
      `loop held ${(delay.max / 1e6).toFixed(1).padStart(7)} ms at most, ` +
      `p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms`,
  );
}

/** A policy over as many numbers, with more metadata entries than findery writes. */
function policyFile(numbers: number, entries: number): Uint8Array {
  if (entries === 0)
    return encodePolicy(
      {
        shape: [4, numbers / 4000, 1000],
        mean: new Float32Array(numbers),
        std: Float32Array.of(1),
        weights: Float32Array.of(1),
      },
      { prompt: 'a dog' },
    );
  return encodeSafetensors({}, Object.fromEntries(Array.from({ length: entries }, (_, i) => [i, ''])));
}

const created = await fetch(`${api.url}/v1/jobs`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ prompt: 'a green dog' }),
});
const { id } = (await created.json()) as { id: string };
// One image in each iteration: the longest curve.
const entries = Array.from({ length: IMAGES }, (_, i) => `${i + 1},${Math.sin(i / 900) + Math.random()}`);
for (let i = 0; i < IMAGES; i += 1000)
  await store.redis.rpush(store.keys.rewards(id), ...entries.slice(i, i + 1000));

const path = `/v1/jobs/${id}/rewards`;
await measure('warm-up', { path: `${path}?format=png` });
for (const format of ['json', 'csv', 'svg', 'png'])
  await measure(`rewards, ${format}`, { path: `${path}?format=${format}` });
await measure('rewards, sigma 100', { path: `${path}?format=svg&sigma=100` });
await measure('rewards, json, 8 at once', { path, count: 8 });
await measure('rewards, png, 8 at once', { path: `${path}?format=png`, count: 8 });
await measure('upload of 64 MB', { path: '/v1/policies', method: 'POST', body: policyFile(16_000_000, 0) });
await measure('1,000,000 metadata', { path: '/v1/policies', method: 'POST', body: policyFile(0, 1_000_000) });

await client.terminate();
await api.close();
await store.redis.del(...(await store.redis.keys(`${config.redisPrefix}:*`)));
await store.close();
await redis.stop();
await rm(folder, { recursive: true, force: true });
