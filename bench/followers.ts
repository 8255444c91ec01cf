import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ensureRedis } from '../src/cli/redis.ts';
import { openStore } from '../src/jobs/store.ts';
import { quantile } from '../src/numerics/statistics.ts';

/**
 * `npm run bench:followers`: many followers of one job on one API process, each of them with a connection of its own, all in this
 * process (which takes its part of the delay). Prints how late events come, and whether each came once to each.
 */
const [followers = 1000, events = 100, pause = 100] = process.argv.slice(2).map(Number);

const folder = await mkdtemp(join(tmpdir(), 'findery-bench-'));
const redis = await ensureRedis({ dataDir: folder, log: () => {} });
const api = fork(fileURLToPath(new URL('../src/cli/api.ts', import.meta.url)), {
  env: { ...process.env, FINDERY_DATA: folder, REDIS_URL: redis.url, PORT: '0', LOG_LEVEL: 'info' },
  execArgv: ['--disable-warning=ExperimentalWarning'],
  stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
});
const url = await new Promise<string>((resolve) => {
  let log = '';
  api.stdout?.on('data', (chunk: Buffer) => {
    if (log.length < 100_000) log += chunk.toString('utf8');
    const found = /Server listening at (http:\/\/[0-9.:]+)/.exec(log);
    if (found) resolve(found[1]);
  });
});
const store = await openStore(redis.url, 'findery', { failFast: false });
const response = await fetch(`${url}/v1/jobs`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ prompt: 'a green dog on the grass' }),
});
const { id } = (await response.json()) as { id: string };

const delays: number[] = [];
const counts: Map<number, number>[] = [];
const ended = Array.from(
  { length: followers },
  () =>
    new Promise<void>((resolve) => {
      const seen = new Map<number, number>();
      counts.push(seen);
      let rest = '';
      get(`${url}/v1/jobs/${id}/events`, { agent: false }, (stream) => {
        stream.setEncoding('utf8');
        stream.on('data', (text: string) => {
          const now = Date.now();
          const blocks = (rest + text).split('\n\n');
          rest = blocks.pop() ?? '';
          for (const block of blocks) {
            const [, number, at] = /"number":(\d+),"at":(\d+)/.exec(block) ?? [];
            if (number === undefined) continue;
            seen.set(Number(number), (seen.get(Number(number)) ?? 0) + 1);
            delays.push(now - Number(at));
          }
        });
        stream.once('end', resolve);
      }).once('error', () => resolve());
    }),
);
await sleep(3000);
const say = (type: string, data: object) => store.jobs.change(id, { events: [{ type, data }] });
for (let number = 1; number <= events; number++) {
  await say('iteration', { number, at: Date.now() });
  await sleep(pause);
}
await say('done', { id });
await Promise.race([Promise.all(ended), sleep(20_000)]);

const whole = counts.filter((seen) => seen.size === events && [...seen.values()].every((times) => times === 1)).length;
const p = (share: number) => `${quantile(delays, share).toFixed(0)} ms`;
console.log(`${followers} followers of one job, ${events} events, one every ${pause} ms, one API process`);
console.log('| what | value | target |\n| --- | --- | --- |');
console.log(`| every event once | ${whole} of ${followers} followers | all |`);
console.log(`| delay from before the event is written to a follower, p50 | ${p(0.5)} | |`);
console.log(`| the same, p99 | ${p(0.99)} | < 250 ms |`);
console.log(`| the same, most | ${p(1)} | |`);

api.kill('SIGTERM');
await store.close();
await redis.stop();
await rm(folder, { recursive: true, force: true });
process.exit(0);
