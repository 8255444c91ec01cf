import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { openStore } from '../../src/store/store.ts';
import type { Options } from './options.ts';
import type { Row } from './report.ts';
import { post } from './request.ts';

/** Milliseconds between two events. */
const PAUSE = 100;
/** Milliseconds for all to be there before the first event, and to have read the last one. */
const PATIENCE = 60_000;

/**
 * Many followers of one job on one API process, each of them with a connection of its own, all in this process (which takes its part of
 * the delay): how late events come, and whether each came once to each.
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
    await within(Promise.all(all.map(({ began }) => began)), PATIENCE);
    const say = (type: string, data: object) => store.jobs.change(id, { events: [{ type, data }] });
    for (let number = 1; number <= events; number++) {
      await say('iteration', { number, at: Date.now() });
      await sleep(PAUSE);
    }
    await say('done', { id });
    await within(Promise.all(all.map(({ ended }) => ended)), PATIENCE);
    const delays = all.flatMap((one) => one.delays);
    const whole = all.filter(
      ({ seen }) => seen.size === events && [...seen.values()].every((times) => times === 1),
    ).length;
    const p = (share: number) => (delays.length === 0 ? Number.POSITIVE_INFINITY : quantile(delays, share));
    const what = `${followers} followers of one job, ${events} events, one every ${PAUSE} ms`;
    return {
      figures: { followers, events, whole, p50: p(0.5), p99: p(0.99), most: p(1) },
      rows: [
        {
          what: `${what}: every event once`,
          value: `${whole} of ${followers}`,
          target: 'all',
          met: whole === followers,
        },
        {
          what: 'delay from before it is written to a follower, p50',
          value: `${p(0.5).toFixed(0)} ms`,
          target: '',
          met: null,
        },
        { what: 'the same, p99', value: `${p(0.99).toFixed(0)} ms`, target: '< 250 ms', met: p(0.99) < 250 },
        { what: 'the same, most', value: `${p(1).toFixed(0)} ms`, target: '', met: null },
      ],
    };
  } finally {
    await store.close();
  }
}

function follow(url: string) {
  /** How often each event came, by its number. */
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

async function within(what: Promise<unknown>, milliseconds: number): Promise<void> {
  await Promise.race([what, sleep(milliseconds, undefined, { ref: false })]);
}
