import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ensureRedis } from '../../src/cli/redis.ts';
import { rowsOf } from './compare.ts';
import { compareGets, comparePosts } from './comparisons.ts';
import { type Options, type Part, readOptions, USAGE } from './options.ts';
import { describeMachine, HEAD, lineOf, type Row } from './report.ts';
import { startBare, startService } from './servers.ts';

/** `npm run bench:api`: what the API does under load, as a table. It ends with 0 whether or not the targets are met. */
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
  // Each part has a Redis and processes of its own: nothing of the one before is left.
  const folder = await mkdtemp(join(tmpdir(), 'findery-bench-'));
  const { url, stop } = await ensureRedis({ dataDir: folder, log: () => {} });
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  const service = await startService(url, folder, { profile: options.profile });
  if (machine === '') {
    machine = describeMachine(version.exec(await redis.info('server'))?.[1] ?? '?');
    console.log(
      `${machine}, appendonly, appendfsync ${((await redis.config('GET', 'appendfsync')) as string[])[1]}\n\n${HEAD}`,
    );
  }
  try {
    const { rows, figures } = await measure(part, url, redis, service);
    for (const row of rows) console.log(lineOf(row));
    results.push({ part, rows, figures });
  } finally {
    await service.stop();
    redis.disconnect();
    await stop();
    await rm(folder, { recursive: true, force: true });
  }
}
if (options.json !== null) await writeFile(options.json, `${JSON.stringify({ machine, options, results }, null, 2)}\n`);
process.exit(0);

async function measure(
  part: Part,
  redisUrl: string,
  redis: Redis,
  service: Awaited<ReturnType<typeof startService>>,
): Promise<{ rows: readonly Row[]; figures: unknown }> {
  const bare = await startBare(redisUrl);
  try {
    const setting = { service, bare, redis, options };
    const share = 0.6;
    if (part === 'post') {
      const figures = await comparePosts(setting);
      return { figures, rows: rowsOf('POST /v1/jobs', figures, 1500, share) };
    }
    const figures = await compareGets(setting);
    return { figures, rows: rowsOf('GET /v1/jobs/{id}', figures, 5000, share) };
  } finally {
    await bare.stop();
  }
}
