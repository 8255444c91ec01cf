import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import type { Options } from './options.ts';
import { type Kind, paced } from './paced.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';
import type { Server } from './servers.ts';

/** Requests a second. */
const RATE = 200;
/** Milliseconds between two looks at the memory. */
const LOOK = 5000;
/** Part of the time after which memory should stay as it is. */
const WARM_UP = 0.25;

interface Look {
  /** Minutes since the beginning. */
  readonly at: number;
  readonly rss: number;
  readonly heapUsed: number;
}

/** Mixed traffic for a long time, and what becomes of the API's memory. */
export async function benchSoak(
  service: Server,
  { soakMinutes }: Options,
): Promise<{ rows: Row[]; figures: object }> {
  const looks: Look[] = [];
  const began = performance.now();
  const ended = new AbortController();
  const watching = (async () => {
    while (!ended.signal.aborted) {
      const { rss, heapUsed } = await service.memory();
      looks.push({ at: (performance.now() - began) / 60_000, rss, heapUsed });
      await sleep(LOOK, undefined, { signal: ended.signal }).catch(() => {});
    }
  })();
  const traffic = await paced(kindsOf(service.url), RATE, soakMinutes * 60);
  ended.abort();
  await watching;
  const failed = traffic.reduce((sum, kind) => sum + kind.failed, 0);
  const asked = traffic.reduce((sum, kind) => sum + kind.latencies.length, 0);
  const settled = looks.filter(({ at }) => at >= soakMinutes * WARM_UP);
  return {
    figures: {
      looks,
      traffic: traffic.map(({ name, latencies, failed }) => ({ name, asked: latencies.length, failed })),
    },
    rows: [
      {
        what: `soak of ${soakMinutes} minutes, ${RATE} requests/s, mixed`,
        value: `${asked} requests, ${failed} failed`,
        target: 'none',
        met: failed === 0,
      },
      ...rowsOf('resident memory', settled, ({ rss }) => rss),
      // The heap between two collections is rubbish; its lows are what is kept.
      ...rowsOf('heap', settled, ({ heapUsed }) => heapUsed),
    ],
  };
}

/** What clients do: queue, poll, list, cancel, follow to the end, send again, and get it wrong. */
function kindsOf(url: string): Kind[] {
  const jobs: string[] = [];
  const idOf = (text: string) => (JSON.parse(text) as { id: string }).id;
  const any = () => jobs[Math.floor(Math.random() * jobs.length)] ?? '';
  let number = 0;
  const queue = async () => {
    const { status, text } = await request('POST', `${url}/v1/jobs`, { ...BODY, seed: number++ });
    if (status === 202) jobs.push(idOf(text));
    return status === 202;
  };
  const cancel = async (id = jobs.shift()) =>
    id === undefined || (await request('POST', `${url}/v1/jobs/${id}/cancel`)).status === 200;
  return [
    { name: 'queue', share: 5, run: queue },
    {
      name: 'read',
      share: 8,
      run: async () => [200, 404].includes((await request('GET', `${url}/v1/jobs/${any()}`)).status),
    },
    {
      name: 'list',
      share: 1,
      run: async () => (await request('GET', `${url}/v1/jobs?limit=20`)).status === 200,
    },
    { name: 'cancel', share: 4, run: () => cancel() },
    {
      name: 'follow',
      share: 1,
      async run() {
        const { text } = await request('POST', `${url}/v1/jobs`, BODY);
        const id = idOf(text);
        const events = follow(`${url}/v1/jobs/${id}/events`);
        await cancel(id);
        return (await events).includes('event: done');
      },
    },
    {
      name: 'get it wrong',
      share: 1,
      run: async () => (await request('POST', `${url}/v1/jobs`, '{"prompt": 5')).status === 400,
    },
  ];
}

function follow(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (stream) => {
      let text = '';
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8');
      });
      stream.once('end', () => resolve(text));
      stream.once('error', reject);
    }).once('error', reject);
  });
}

/** How the first fifth of the looks and the last one compare, all of it over time, and its trend. */
function rowsOf(what: string, looks: readonly Look[], of: (look: Look) => number): Row[] {
  if (looks.length < 5) return [{ what, value: 'too short to tell', target: '', met: null }];
  const share = what === 'heap' ? 0.1 : 0.5;
  const fifth = Math.ceil(looks.length / 5);
  const parts = Array.from({ length: 5 }, (_, i) => looks.slice(i * fifth, (i + 1) * fifth)).filter(
    ({ length }) => length > 0,
  );
  const levels = parts.map((part) => quantile(part.map(of), share) / 2 ** 20);
  const growth = levels[levels.length - 1] / levels[0] - 1;
  return [
    {
      what: `${what} after the first quarter, by fifths of the time, MiB`,
      value: levels.map((level) => level.toFixed(0)).join(', '),
      target: '',
      met: null,
    },
    {
      what: 'the same, last fifth against the first (trend)',
      value: `${(100 * growth).toFixed(1)} % (${(
        (60 *
          slopeOf(
            looks.map(({ at }) => at),
            looks.map(of),
          )) /
          2 ** 20
      ).toFixed(1)} MiB an hour)`,
      target: what === 'heap' ? '' : '< 10 %',
      met: what === 'heap' ? null : growth < 0.1,
    },
  ];
}

/** Of the line that fits best. */
function slopeOf(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const over = x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0);
  return over / x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
}
