import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import type { Options } from './options.ts';
import { type RequestKind, runPaced } from './paced-load.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';
import type { Server } from './servers.ts';

const REQUESTS_PER_SECOND = 200;
/** Pause between two readings of the memory. */
const READING_INTERVAL_MS = 5000;
/** Part of the time after which memory should be constant. */
const WARM_UP_PART = 0.25;

interface MemoryReading {
  /** Minutes since the start. */
  readonly at: number;
  readonly rss: number;
  readonly heapUsed: number;
}

/** Sends mixed traffic for a long time and watches the memory of the API. */
export async function benchSoak(
  service: Server,
  { soakMinutes }: Options,
): Promise<{ rows: Row[]; figures: object }> {
  const readings: MemoryReading[] = [];
  const began = performance.now();
  const ended = new AbortController();
  const watching = (async () => {
    while (!ended.signal.aborted) {
      const { rss, heapUsed } = await service.memory();
      readings.push({ at: (performance.now() - began) / 60_000, rss, heapUsed });
      await sleep(READING_INTERVAL_MS, undefined, { signal: ended.signal }).catch(() => {});
    }
  })();
  const traffic = await runPaced(requestKinds(service.url), REQUESTS_PER_SECOND, soakMinutes * 60);
  ended.abort();
  await watching;
  const failed = traffic.reduce((sum, kind) => sum + kind.failed, 0);
  const sent = traffic.reduce((sum, kind) => sum + kind.latencies.length, 0);
  const settled = readings.filter(({ at }) => at >= soakMinutes * WARM_UP_PART);
  return {
    figures: {
      readings,
      traffic: traffic.map(({ name, latencies, failed }) => ({ name, requests: latencies.length, failed })),
    },
    rows: [
      {
        what: `soak of ${soakMinutes} minutes, ${REQUESTS_PER_SECOND} requests/s, mixed`,
        value: `${sent} requests, ${failed} failed`,
        target: 'none',
        met: failed === 0,
      },
      ...memoryRows('resident memory', settled, ({ rss }) => rss),
      // Between two collections the heap holds garbage, so its low values show what is kept.
      ...memoryRows('heap', settled, ({ heapUsed }) => heapUsed),
    ],
  };
}

/** A mix of what clients do: create, read, list, cancel, follow to the end, send invalid JSON. */
function requestKinds(url: string): RequestKind[] {
  const jobs: string[] = [];
  const idOf = (text: string) => (JSON.parse(text) as { id: string }).id;
  const anyJob = () => jobs[Math.floor(Math.random() * jobs.length)] ?? '';
  let number = 0;
  const queue = async () => {
    const { status, text } = await request('POST', `${url}/v1/jobs`, { ...BODY, seed: number++ });
    if (status === 202) jobs.push(idOf(text));
    return status === 202;
  };
  const cancel = async (id = jobs.shift()) =>
    id === undefined || (await request('POST', `${url}/v1/jobs/${id}/cancel`)).status === 200;
  return [
    { name: 'create', share: 5, run: queue },
    {
      name: 'read',
      share: 8,
      run: async () => [200, 404].includes((await request('GET', `${url}/v1/jobs/${anyJob()}`)).status),
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
      name: 'invalid JSON',
      share: 1,
      run: async () => (await request('POST', `${url}/v1/jobs`, '{"prompt": 5')).status === 400,
    },
  ];
}

/** Reads an event stream to its end. */
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

/**
 * Table rows for a figure: its level in each fifth of the time, growth from first to last, and its
 * trend.
 */
function memoryRows(
  what: string,
  readings: readonly MemoryReading[],
  of: (reading: MemoryReading) => number,
): Row[] {
  if (readings.length < 5) return [{ what, value: 'too few readings', target: '', met: null }];
  const share = what === 'heap' ? 0.1 : 0.5;
  const fifth = Math.ceil(readings.length / 5);
  const parts = Array.from({ length: 5 }, (_, i) => readings.slice(i * fifth, (i + 1) * fifth)).filter(
    ({ length }) => length > 0,
  );
  const levels = parts.map((part) => quantile(part.map(of), share) / 2 ** 20);
  const growth = levels[levels.length - 1] / levels[0] - 1;
  return [
    {
      what: `${what} after the first quarter, for each fifth of the time, MiB`,
      value: levels.map((level) => level.toFixed(0)).join(', '),
      target: '',
      met: null,
    },
    {
      what: 'the same, last fifth against the first (trend)',
      value: `${(100 * growth).toFixed(1)} % (${(
        (60 *
          slopeOf(
            readings.map(({ at }) => at),
            readings.map(of),
          )) /
          2 ** 20
      ).toFixed(1)} MiB an hour)`,
      target: what === 'heap' ? '' : '< 10 %',
      met: what === 'heap' ? null : growth < 0.1,
    },
  ];
}

/** Slope of the least-squares line. */
function slopeOf(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const over = x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0);
  return over / x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
}
