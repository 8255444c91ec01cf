import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { openStore } from '../../src/store/store.ts';
import type { Options } from './options.ts';
import type { Row } from './report.ts';
import { post } from './request.ts';

/** Pause between two events. */
const EVENT_INTERVAL_MS = 100;
/** Time for all followers to connect before the first event, and to read the last one. */
const TIMEOUT_MS = 60_000;

/**
 * Measures the delay of a job's events to many followers of one API process, and checks that
 * each follower gets each event once. All followers run in this process, which adds to the delay.
 */
export async function benchFollowers(
  url: string,
  redisUrl: string,
  { followers, events }: Options,
): Promise<{ rows: Row[]; figures: object }> {
  const store = await openStore(redisUrl, 'findery', { failFast: false });
  try {
    const { id } = JSON.parse(
      (await post(`${url}/v1/jobs`, { prompt: 'a green dog on the grass' })).text,
    ) as {
      id: string;
    };
    const all = Array.from({ length: followers }, () => follow(`${url}/v1/jobs/${id}/events`));
    await within(Promise.all(all.map(({ began }) => began)), TIMEOUT_MS);
    const publish = (type: string, data: object) => store.jobs.change(id, { events: [{ type, data }] });
    for (let number = 1; number <= events; number++) {
      await publish('iteration', { number, at: Date.now() });
      await sleep(EVENT_INTERVAL_MS);
    }
    await publish('done', { id });
    await within(Promise.all(all.map(({ ended }) => ended)), TIMEOUT_MS);
    const delays = all.flatMap((one) => one.delays);
    const complete = all.filter(
      ({ seen }) => seen.size === events && [...seen.values()].every((times) => times === 1),
    ).length;
    const p = (share: number) => (delays.length === 0 ? Number.POSITIVE_INFINITY : quantile(delays, share));
    const what = `${followers} followers of one job, ${events} events, one every ${EVENT_INTERVAL_MS} ms`;
    return {
      figures: { followers, events, complete, p50: p(0.5), p99: p(0.99), maximum: p(1) },
      rows: [
        {
          what: `${what}: every event once`,
          value: `${complete} of ${followers}`,
          target: 'all',
          met: complete === followers,
        },
        {
          what: 'delay from before the write until a follower has read it, p50',
          value: `${p(0.5).toFixed(0)} ms`,
          target: '',
          met: null,
        },
        { what: 'the same, p99', value: `${p(0.99).toFixed(0)} ms`, target: '< 250 ms', met: p(0.99) < 250 },
        { what: 'the same, maximum', value: `${p(1).toFixed(0)} ms`, target: '', met: null },
      ],
    };
  } finally {
    await store.close();
  }
}

/** Connects a follower, and records how often and how late each event arrives. */
function follow(url: string) {
  /** Number of arrivals by event number. */
  const seen = new Map<number, number>();
  const delays: number[] = [];
  const began = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let rest = '';
  get(url, { agent: false }, (stream) => {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      began.resolve();
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
    stream.once('end', ended.resolve);
    stream.once('error', () => ended.resolve());
  }).once('error', () => {
    began.resolve();
    ended.resolve();
  });
  return { seen, delays, began: began.promise, ended: ended.promise };
}

/** Waits for a promise, or for a time-out. */
async function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  await Promise.race([promise, sleep(milliseconds, undefined, { ref: false })]);
}
