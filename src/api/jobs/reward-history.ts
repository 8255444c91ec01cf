import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JobRecord } from '../../contract/records.ts';
import type { RewardPoint } from '../../contract/schemas/reward-history.ts';
import { scoresByTerm, termNames } from '../../jobs/choose-bundles.ts';
import { rewardCurve } from '../../pictures/reward-curve.ts';
import type { StoredReward } from '../../records/record-change.ts';
import { REWARDS_IN_PAGE } from '../../records/records.ts';
import { IterationMeans } from './iteration-means.ts';

/**
 * Reads the rewards of a job, page by page and from the beginning at each call.
 * @param limit number of rewards after which the pages end; by default all
 */
export type ReadRewards = (limit?: number) => AsyncIterable<readonly StoredReward[]>;

/** A search, as the formats of its rewards need it. */
export interface SearchedJob {
  readonly job: Pick<JobRecord, 'id' | 'prompt' | 'reward'>;
  readonly read: ReadRewards;
  /** Standard deviation of the Gaussian that smooths the means of the iterations, in iterations. */
  readonly sigma: number;
}

/**
 * The JSON of a `RewardHistory`, in pieces of a page each: of every image, and the mean of every
 * iteration, raw and smoothed.
 */
export async function* rewardsAsJson({ job, read, sigma }: SearchedJob): AsyncGenerator<string> {
  const names = termNames(job.reward);
  const found = new IterationMeans();
  yield `{"jobId":${JSON.stringify(job.id)},"sigma":${sigma},"data":[`;
  for await (const page of read()) {
    const before = found.images;
    found.add(page);
    const points = page.map(({ iteration, reward, terms }, i): RewardPoint => {
      const point = { image: before + i + 1, iteration, reward };
      return names ? { ...point, terms: scoresByTerm(names, terms) } : point;
    });
    yield (before > 0 ? ',' : '') + points.map((point) => JSON.stringify(point)).join();
  }
  yield '],"iterations":[';
  const [means, smoothed] = [found.means(), await found.smoothed(sigma)];
  for (let start = 0; start < means.length; start += REWARDS_IN_PAGE) {
    const entries = found.iterations.slice(start, start + REWARDS_IN_PAGE).map((iteration, i) => ({
      iteration,
      mean: means[start + i],
      smoothed: smoothed[start + i],
    }));
    await nextTurn(); // a socket that takes every piece at once gives no turn to other requests
    yield (start > 0 ? ',' : '') + entries.map((entry) => JSON.stringify(entry)).join();
  }
  yield ']}';
}

/**
 * A table with one line per image, in pieces of a page each; each term of the reward has a column.
 * The rewards are read twice, because the first line has a smoothed mean already.
 */
export async function* rewardsAsCsv({ job, read, sigma }: SearchedJob): AsyncGenerator<string> {
  const names = termNames(job.reward) ?? [];
  const found = await readMeans(read);
  const smoothed = await found.smoothed(sigma);
  const header = ['image', 'iteration', 'reward', 'smoothed', ...names.map((name) => `terms.${name}`)];
  yield `${header.join()}\n`;
  let image = 0;
  let position = 0;
  for await (const page of read(found.images)) {
    const rows = page.map(({ iteration, reward, terms }) => {
      while (position < smoothed.length && found.iterations[position] !== iteration) position++;
      const scores = names.map((_, i) => terms[i]);
      return `${[++image, iteration, reward, smoothed[position], ...scores].join()}\n`;
    });
    yield rows.join('');
  }
}

/** The curve of the paper as SVG: the mean of each iteration dashed, the smoothed mean solid. */
export async function rewardsAsSvg({ job, read, sigma }: SearchedJob): Promise<string> {
  const found = await readMeans(read);
  const smoothed = await found.smoothed(sigma);
  return rewardCurve({ rewards: found.means(), smoothed, title: job.prompt, sigma });
}

async function readMeans(read: ReadRewards): Promise<IterationMeans> {
  const found = new IterationMeans();
  for await (const page of read()) found.add(page);
  return found;
}
