import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import type { Options } from './options.ts';
import { type RequestKind, runPaced } from './paced-load.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';
import type { Server } from './servers.ts';

/** Pause between two readings of the memory. */
const READING_INTERVAL_MS = 5000;
/** Part of the time after which memory should be constant. */
const WARM_UP_PART = 0.25;

/** Small jobs, so that a worker ends many of them. */
const JOB = {
  ...BODY,
  budget: { images: 15 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
  samples: 1,
};

interface MemoryReading {
  /** Minutes since the start. */
  readonly at: number;
  readonly rss: number;
  readonly heapUsed: number;
}

/** Processes whose memory is watched, by their names. */
interface Watched {
  readonly api: Server;
  readonly worker: Pick<Server, 'memory'>;
}

/**
 * Sends mixed traffic for a long time, while a worker runs what is not canceled, and watches the
 * memory of both.
 */
export async function benchSoak(
  watched: Watched,
  { soakMinutes, soakRate }: Options,
): Promise<{ rows: Row[]; figures: object }> {
  const began = performance.now();
  const ended = new AbortController();
  const watching = Object.entries(watched).map(async ([name, process]) => {
    const readings: MemoryReading[] = [];
    while (!ended.signal.aborted) {
      const { rss, heapUsed } = await process.memory();
      readings.push({ at: (performance.now() - began) / 60_000, rss, heapUsed });
      await sleep(READING_INTERVAL_MS, undefined, { signal: ended.signal }).catch(() => {});
    }
    return { name, readings };
  });
  const traffic = await runPaced(requestKinds(watched.api.url), soakRate, soakMinutes * 60);
  ended.abort();
  const memory = await Promise.all(watching);
  const failed = traffic.reduce((sum, kind) => sum + kind.failed, 0);
  const sent = traffic.reduce((sum, kind) => sum + kind.latencies.length, 0);
  return {
    figures: {
      memory,
      traffic: traffic.map(({ name, latencies, failed }) => ({ name, requests: latencies.length, failed })),
    },
    rows: [
      {
        what: `soak of ${soakMinutes} minutes, ${soakRate} requests/s, mixed`,
        value: `${sent} requests, ${failed} failed`,
        target: 'none',
        met: failed === 0,
      },
      ...memory.flatMap(({ name, readings }) => {
        const settled = readings.filter(({ at }) => at >= soakMinutes * WARM_UP_PART);
        return [
          ...memoryRows(`${name}: resident memory`, settled, ({ rss }) => rss, RESIDENT),
          ...memoryRows(`${name}: heap`, settled, ({ heapUsed }) => heapUsed, HEAP),
        ];
      }),
    ],
  };
}

/**
 * The quantile that stands for the memory of some minutes, and the growth that is allowed. Between
 * two collections the heap holds garbage, so its low values show what is kept.
 */
const RESIDENT = { share: 0.5, maxGrowth: 0.1 };
const HEAP = { share: 0.1, maxGrowth: null };

/** A mix of what clients do: create, read, list, cancel, follow to the end, send invalid JSON. */
function requestKinds(url: string): RequestKind[] {
  const jobs: string[] = [];
  const idOf = (text: string) => (JSON.parse(text) as { id: string }).id;
  const anyJob = () => jobs[Math.floor(Math.random() * jobs.length)] ?? '';
  let number = 0;
  const queue = async () => {
    const { status, text } = await request('POST', `${url}/v1/jobs`, { ...JOB, seed: number++ });
    if (status === 202) jobs.push(idOf(text));
    return status === 202;
  };
  // The worker may run the job (202), or have ended it (409).
  const cancel = async (id = jobs.shift()) =>
    id === undefined ||
    [200, 202, 409].includes((await request('POST', `${url}/v1/jobs/${id}/cancel`)).status);
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
        const { text } = await request('POST', `${url}/v1/jobs`, JOB);
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
  { share, maxGrowth }: { readonly share: number; readonly maxGrowth: number | null },
): Row[] {
  if (readings.length < 5) return [{ what, value: 'too few readings', target: '', met: null }];
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
      target: maxGrowth === null ? '' : `< ${100 * maxGrowth} %`,
      met: maxGrowth === null ? null : growth < maxGrowth,
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
