import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { describeMachine, TABLE_HEAD, tableLine } from '../api/report.ts';
import { type Options, readOptions, USAGE } from './options.ts';
import { capacityRows, costRows, fairnessRows } from './report.ts';
import { simulate } from './simulation.ts';

/**
 * `npm run simulate`: a fleet of workers on a real Redis, with simulated evaluations. Exits with 1
 * if a target is missed.
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

const folder = await mkdtemp(join(tmpdir(), 'findery-simulate-'));
const redis = await ensureRedis({ dataDir: folder, log: () => {} });
let isMet = false;
try {
  const { workers, jobs, tenants, seed } = options;
  console.log(
    `${describeMachine('private')}; ${workers} workers, ${jobs} jobs of ${tenants} tenants, seed ${seed}\n`,
  );
  const result = await simulate(options, redis.url, pino({ level: 'info' }, process.stderr));
  const rows = [
    ...costRows('submission', result.submissions),
    ...costRows('work on a job', result.runs),
    ...fairnessRows(result.starts, options),
    ...capacityRows(result),
  ];
  console.log([TABLE_HEAD, ...rows.map(tableLine)].join('\n'));
  if (options.json !== null) {
    const figures = { options, rows, ...result, starts: undefined, started: result.starts.length };
    await writeFile(options.json, `${JSON.stringify(figures, null, 2)}\n`);
  }
  isMet = rows.every(({ met }) => met !== false);
} finally {
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
}
process.exit(isMet ? 0 : 1);
