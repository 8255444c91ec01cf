import { mean, meanPairwiseDistance, quantile, rootMeanSquare, standardError } from './statistics.ts';

/** A learned draw succeeds when it beats this share of the base distribution's draws. */
const SUCCESS_QUANTILE = 0.9;

/**
 * Fresh draws of both distributions: entry i of every list comes from the same eps, pushed through N(0, I) for the base and
 * through the learned distribution, with an address that the search has never used.
 */
export interface FreshDraws {
  /** n finite rewards, n >= 2 (32 or more for figures that mean something). */
  readonly baseRewards: readonly number[];
  readonly learnedRewards: readonly number[];
  /** n image features of equal length; null when there are none. */
  readonly baseFeatures: readonly ArrayLike<number>[] | null;
  readonly learnedFeatures: readonly ArrayLike<number>[] | null;
  /** n initial noises of the learned distribution, d numbers each. */
  readonly learnedNoises: readonly ArrayLike<number>[];
}

export interface Estimate {
  readonly mean: number;
  readonly standardError: number;
}

/** How a learned distribution compares with N(0, I); every figure is a finite number. */
export interface ReportSummary {
  /** Fresh draws of each distribution. */
  readonly draws: number;
  readonly base: Estimate;
  readonly learned: Estimate;
  /** Mean difference of the rewards from the same eps; its standard error is that of the paired differences. */
  readonly gain: Estimate;
  /** Share of the learned draws that score above the base draws' 90th percentile, 0 to 1: N(0, I) itself has about 0.1. */
  readonly successRate: number;
  /** Mean pairwise distance of the learned draws' features over the base draws'; null without features, or where the base draws are all alike. */
  readonly diversityRatio: number | null;
  /** Mean of ||z|| / sqrt(d) of the learned noises; 1 +- 0.01 for distributions that keep to what the model was trained on. */
  readonly meanNorm: number;
}

/**
 * The judgement of a learned distribution on fresh draws, never by the rewards that its search saw: those are the best of many
 * tries and too good (winner's curse).
 *
 * @throws RangeError for lists of different lengths, fewer than two draws, or a reward that is not finite
 */
export function summarizeReport(draws: FreshDraws): ReportSummary {
  const { baseRewards, learnedRewards, baseFeatures, learnedFeatures, learnedNoises } = draws;
  const count = baseRewards.length;
  const lists = { baseRewards, learnedRewards, baseFeatures, learnedFeatures, learnedNoises };
  for (const [name, list] of Object.entries(lists)) {
    if (list !== null && list.length !== count) {
      throw new RangeError(
        `${name} has ${list.length} entries and baseRewards ${count}; a report pairs them one to one.`,
      );
    }
  }
  if (count < 2)
    throw new RangeError(`There are ${count} fresh draws; a report needs at least 2, better 32 or more.`);
  for (const [name, rewards] of Object.entries({ baseRewards, learnedRewards })) {
    const wrong = rewards.findIndex((reward) => !Number.isFinite(reward));
    if (wrong >= 0)
      throw new RangeError(`${name}[${wrong}] is ${rewards[wrong]}; rewards must be finite numbers.`);
  }

  const bar = quantile(baseRewards, SUCCESS_QUANTILE);
  return {
    draws: count,
    base: estimate(baseRewards),
    learned: estimate(learnedRewards),
    gain: estimate(learnedRewards.map((reward, i) => reward - baseRewards[i])),
    successRate: learnedRewards.filter((reward) => reward > bar).length / count,
    diversityRatio:
      baseFeatures === null || learnedFeatures === null
        ? null
        : compareDiversity(baseFeatures, learnedFeatures),
    meanNorm: mean(learnedNoises.map(rootMeanSquare)),
  };
}

function estimate(values: readonly number[]): Estimate {
  return { mean: mean(values), standardError: standardError(values) };
}

function compareDiversity(
  base: readonly ArrayLike<number>[],
  learned: readonly ArrayLike<number>[],
): number | null {
  const baseDistance = meanPairwiseDistance(base);
  return baseDistance === 0 ? null : meanPairwiseDistance(learned) / baseDistance;
}
