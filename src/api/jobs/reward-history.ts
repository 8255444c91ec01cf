import type { JobRecord } from '../../contract/records.ts';
import type { RewardHistory } from '../../contract/schemas/reward-history.ts';
import { scoresByTerm, termNames } from '../../jobs/choose-bundles.ts';
import { gaussianSmooth, mean } from '../../numerics/statistics.ts';
import { rewardCurve } from '../../pictures/reward-curve.ts';
import type { StoredReward } from '../../records/record-change.ts';

/**
 * The rewards of a search: of every image, and the mean of every iteration, raw and smoothed.
 * @param sigma standard deviation of the Gaussian, in iterations
 */
export function rewardHistory(
  job: JobRecord,
  rewards: readonly StoredReward[],
  sigma: number,
): RewardHistory {
  const names = termNames(job.reward);
  const byIteration = Map.groupBy(rewards, ({ iteration }) => iteration);
  const means = [...byIteration.values()].map((images) => mean(images.map(({ reward }) => reward)));
  const smoothed = means.length > 0 ? gaussianSmooth(means, sigma) : [];
  return {
    jobId: job.id,
    sigma,
    data: rewards.map(({ iteration, reward, terms }, i) => ({
      image: i + 1,
      iteration,
      reward,
      ...(names ? { terms: scoresByTerm(names, terms) } : {}),
    })),
    iterations: [...byIteration.keys()].map((iteration, i) => ({
      iteration,
      mean: means[i],
      smoothed: smoothed[i],
    })),
  };
}

/** A table with one line per image; each term of the reward has a column. */
export function rewardsAsCsv({ reward }: JobRecord, { data, iterations }: RewardHistory): string {
  const names = termNames(reward) ?? [];
  const smoothed = new Map(iterations.map((entry) => [entry.iteration, entry.smoothed]));
  const header = ['image', 'iteration', 'reward', 'smoothed', ...names.map((name) => `terms.${name}`)];
  const rows = data.map(({ image, iteration, reward, terms }) => [
    image,
    iteration,
    reward,
    smoothed.get(iteration),
    ...names.map((name) => terms?.[name]),
  ]);
  return `${[header, ...rows].map((row) => row.join()).join('\n')}\n`;
}

/** The curve of the paper as SVG: the mean of each iteration dashed, the smoothed mean solid. */
export function rewardsAsSvg({ prompt }: JobRecord, { sigma, iterations }: RewardHistory): string {
  return rewardCurve({
    rewards: iterations.map((entry) => entry.mean),
    smoothed: iterations.map((entry) => entry.smoothed),
    title: prompt,
    sigma,
  });
}
