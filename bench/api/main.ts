import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { comparisonRows } from './compare.ts';
import { compareGets, comparePosts } from './comparisons.ts';
import { benchFollowers } from './followers.ts';
import { benchMetrics } from './metrics.ts';
import { type Options, type Part, readOptions, USAGE } from './options.ts';
import { benchQueued } from './queued.ts';
import { describeMachine, type Row, TABLE_HEAD, tableLine } from './report.ts';
import { type Server, startBare, startService, startWorker } from './servers.ts';
import { benchSoak } from './soak.ts';

/**
 * `npm run bench:api`: measures the API under load and prints a table. Exits with 0 if targets are
 * missed, too.
 */
let options: Options;
try {
  const read = readOptions(process.argv.slice(2));
  if (read === 'help') {
    console.log(USAGE);
    process.exit(0);
  }
  options = read;
} catch (error) {
  console.error(`${(error as Error).message}.\n\n${USAGE}`);
  process.exit(2);
}

const version = /redis_version:(\S+)/;
const results: { part: Part; rows: readonly Row[]; figures: unknown }[] = [];
let machine = '';
for (const part of options.parts) {
  // Each part starts its own Redis and processes, so nothing is left of the part before.
  const folder = await mkdtemp(join(tmpdir(), 'findery-bench-'));
  const { url, stop } = await ensureRedis({ dataDir: folder, log: () => {} });
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  const service = await startService(url, folder, { profile: options.profile });
  if (machine === '') {
    machine = describeMachine(version.exec(await redis.info('server'))?.[1] ?? '?');
    console.log(
      `${machine}, appendonly, appendfsync ` +
        `${((await redis.config('GET', 'appendfsync')) as string[])[1]}\n\n${TABLE_HEAD}`,
    );
  }
  try {
    const { rows, figures } = await measure(part, url, redis, service, folder);
    for (const row of rows) console.log(tableLine(row));
    results.push({ part, rows, figures });
  } finally {
    await service.stop();
    redis.disconnect();
    await stop();
    await rm(folder, { recursive: true, force: true });
  }
}
if (options.json !== null)
  await writeFile(options.json, `${JSON.stringify({ machine, options, results }, null, 2)}\n`);
process.exit(0);

async function measure(
  part: Part,
  redisUrl: string,
  redis: Redis,
  service: Server,
  folder: string,
): Promise<{ rows: readonly Row[]; figures: unknown }> {
  switch (part) {
    case 'post': {
      const figures = await withBare(redisUrl, (bare) => comparePosts({ service, bare, redis, options }));
      return { figures, rows: comparisonRows('POST /v1/jobs', figures, { perSecond: 1500, ratio: 0.6 }) };
    }
    case 'get': {
      const figures = await withBare(redisUrl, (bare) => compareGets({ service, bare, redis, options }));
      return { figures, rows: comparisonRows('GET /v1/jobs/{id}', figures, { perSecond: 5000, ratio: 0.6 }) };
    }
    case 'followers':
      return benchFollowers(service.url, redisUrl, options);
    case 'queued':
      return benchQueued(service.url, redisUrl, options);
    case 'metrics':
      return benchMetrics(service, redisUrl);
    case 'soak': {
      const worker = await startWorker(redisUrl, folder);
      return benchSoak({ api: service, worker }, options).finally(() => worker.stop());
    }
  }
}

async function withBare<T>(redisUrl: string, work: (bare: Server) => Promise<T>): Promise<T> {
  const bare = await startBare(redisUrl);
  try {
    return await work(bare);
  } finally {
    await bare.stop();
  }
}
