import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import { fillQueue } from './fill-queue.ts';
import type { Options } from './options.ts';
import { type KindResult, runPaced } from './paced-load.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';

/** Requests a second, POST, list and cancel together. */
const REQUESTS_PER_SECOND = 60;
const SECONDS = 30;
/** Seconds at the beginning that are not counted. */
const WARM_UP_SECONDS = 5;

/** Measures POST, list and cancel while many jobs are queued. */
export async function benchQueued(
  url: string,
  redisUrl: string,
  { queued }: Options,
): Promise<{ rows: Row[]; figures: readonly KindResult[] }> {
  const ids = await fillQueue(redisUrl, queued);
  // Cancels jobs from the whole queue.
  const next = () => ids.splice(Math.floor(Math.random() * ids.length), 1)[0];
  const answersWith = (status: number) => async (answer: Promise<{ status: number }>) =>
    (await answer).status === status;
  const kinds = [
    { name: 'POST /v1/jobs', share: 1, run: () => answersWith(202)(request('POST', `${url}/v1/jobs`, BODY)) },
    {
      name: 'GET /v1/jobs?limit=20',
      share: 1,
      run: () => answersWith(200)(request('GET', `${url}/v1/jobs?limit=20`)),
    },
    {
      name: 'POST .../cancel',
      share: 1,
      run: () => answersWith(200)(request('POST', `${url}/v1/jobs/${next()}/cancel`)),
    },
  ];
  await runPaced(kinds, REQUESTS_PER_SECOND, WARM_UP_SECONDS);
  const figures = await runPaced(kinds, REQUESTS_PER_SECOND, SECONDS);
  const waiting = queued.toLocaleString('en');
  return {
    figures,
    rows: figures.flatMap(({ name, latencies, failed }): Row[] => {
      const p = (share: number) => quantile([...latencies], share);
      const of =
        `${name} with ${waiting} jobs queued, ${REQUESTS_PER_SECOND} requests/s in all ` +
        `(${latencies.length}, ${failed} failed)`;
      return [
        { what: `${of}, p50`, value: `${p(0.5).toFixed(1)} ms`, target: '', met: null },
        {
          what: 'the same, p99 (maximum)',
          value: `${p(0.99).toFixed(1)} ms (${p(1).toFixed(1)} ms)`,
          target: '< 20 ms',
          met: p(0.99) < 20 && failed === 0,
        },
      ];
    }),
  };
}
