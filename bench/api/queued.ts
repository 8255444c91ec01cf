import { quantile } from '../../src/numerics/statistics.ts';
import { BODY } from './comparisons.ts';
import { fill } from './fill.ts';
import type { Options } from './options.ts';
import { type Paced, paced } from './paced.ts';
import type { Row } from './report.ts';
import { request } from './request.ts';

/** Requests a second: POST, list and cancel by turns. */
const RATE = 60;
const SECONDS = 30;
/** Of the first seconds nothing is counted. */
const WARM_UP = 5;

/** How long POST, list and cancel take while many jobs wait. */
export async function benchQueued(
  url: string,
  redisUrl: string,
  { queued }: Options,
): Promise<{ rows: Row[]; figures: readonly Paced[] }> {
  const ids = await fill(redisUrl, queued);
  // From everywhere in the queue.
  const next = () => ids.splice(Math.floor(Math.random() * ids.length), 1)[0];
  const is = (status: number) => async (answer: Promise<{ status: number }>) =>
    (await answer).status === status;
  const kinds = [
    { name: 'POST /v1/jobs', share: 1, run: () => is(202)(request('POST', `${url}/v1/jobs`, BODY)) },
    {
      name: 'GET /v1/jobs?limit=20',
      share: 1,
      run: () => is(200)(request('GET', `${url}/v1/jobs?limit=20`)),
    },
    {
      name: 'POST .../cancel',
      share: 1,
      run: () => is(200)(request('POST', `${url}/v1/jobs/${next()}/cancel`)),
    },
  ];
  await paced(kinds, RATE, WARM_UP);
  const figures = await paced(kinds, RATE, SECONDS);
  const waiting = queued.toLocaleString('en');
  return {
    figures,
    rows: figures.flatMap(({ name, latencies, failed }): Row[] => {
      const p = (share: number) => quantile([...latencies], share);
      const of = `${name} with ${waiting} jobs waiting, ${RATE} requests/s in all (${latencies.length}, ${failed} failed)`;
      return [
        { what: `${of}, p50`, value: `${p(0.5).toFixed(1)} ms`, target: '', met: null },
        {
          what: 'the same, p99 (most)',
          value: `${p(0.99).toFixed(1)} ms (${p(1).toFixed(1)} ms)`,
          target: '< 20 ms',
          met: p(0.99) < 20 && failed === 0,
        },
      ];
    }),
  };
}
