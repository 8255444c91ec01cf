import { mean, meanPairwiseDistance, quantile, rootMeanSquare, standardError } from './statistics.ts';

/** A learned sample succeeds if it scores above this quantile of the base samples. */
const SUCCESS_QUANTILE = 0.9;

/**
 * Samples of the base distribution N(0, I) and of the learned one. Entry i of every list comes from
 * the same eps, whose noise key the search has never used.
 */
export interface ReportSamples {
  /** n finite rewards, n >= 2 (32 or more for figures that mean something). */
  readonly baseRewards: readonly number[];
  readonly learnedRewards: readonly number[];
  /** n vectors of image features, all of one length; null without features. */
  readonly baseFeatures: readonly ArrayLike<number>[] | null;
  readonly learnedFeatures: readonly ArrayLike<number>[] | null;
  /** n initial noises of the learned distribution, d numbers each. */
  readonly learnedNoises: readonly ArrayLike<number>[];
  /** Scores of the reward's terms; left out if the reward is one score. */
  readonly terms?: readonly TermScores[];
}

/** n scores of one term of the reward, before weighting. */
export interface TermScores {
  readonly name: string;
  readonly base: readonly number[];
  readonly learned: readonly number[];
}

/** A mean in the units of its values. */
export interface Estimate {
  readonly mean: number;
  /** Standard error of the mean. */
  readonly standardError: number;
}

/** The comparison of a learned distribution with N(0, I). Every figure is a finite number. */
export interface ReportSummary {
  /** The number of samples of each distribution. */
  readonly draws: number;
  /** Rewards of the base samples. */
  readonly base: Estimate;
  /** Rewards of the learned samples. */
  readonly learned: Estimate;
  /**
   * Mean difference of the two rewards of an eps; the standard error is of these paired
   * differences.
   */
  readonly gain: Estimate;
  /**
   * Share of the learned samples that score above the 90th percentile of the base samples, 0 to 1.
   * N(0, I) itself has about 0.1.
   */
  readonly successRate: number;
  /**
   * Mean pairwise distance of the learned samples' features, divided by that of the base samples;
   * null without features, or if the base samples all have the same features.
   */
  readonly diversityRatio: number | null;
  /**
   * Mean of ||z|| / sqrt(d) of the learned noises: 1 +- 0.01 for variance-preserving distributions.
   */
  readonly meanNorm: number;
  /** Scores of each term by its name, before weighting; absent if the reward is one score. */
  readonly terms?: { readonly [name: string]: { readonly base: Estimate; readonly learned: Estimate } };
}

/**
 * Judges a learned distribution on samples that its search never saw. The rewards of the search
 * cannot judge it: they are the best of many tries, so they are too high (winner's curse;
 * docs/method.md, section 6).
 *
 * @throws RangeError for lists of different lengths, fewer than two samples, or a reward that is
 *   not finite
 */
export function summarizeReport(samples: ReportSamples): ReportSummary {
  const { baseRewards, learnedRewards, baseFeatures, learnedFeatures, learnedNoises } = samples;
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
    throw new RangeError(`There are ${count} samples; a report needs at least 2, better 32 or more.`);
  for (const [name, rewards] of Object.entries({ baseRewards, learnedRewards })) {
    const wrong = rewards.findIndex((reward) => !Number.isFinite(reward));
    if (wrong >= 0)
      throw new RangeError(`${name}[${wrong}] is ${rewards[wrong]}; rewards must be finite numbers.`);
  }

  const threshold = quantile(baseRewards, SUCCESS_QUANTILE);
  return {
    draws: count,
    base: estimate(baseRewards),
    learned: estimate(learnedRewards),
    gain: estimate(learnedRewards.map((reward, i) => reward - baseRewards[i])),
    successRate: learnedRewards.filter((reward) => reward > threshold).length / count,
    diversityRatio:
      baseFeatures === null || learnedFeatures === null
        ? null
        : diversityRatio(baseFeatures, learnedFeatures),
    meanNorm: mean(learnedNoises.map(rootMeanSquare)),
    ...(samples.terms && { terms: estimateTerms(samples.terms) }),
  };
}

function estimateTerms(terms: readonly TermScores[]): ReportSummary['terms'] {
  return Object.fromEntries(
    terms.map(({ name, base, learned }) => [name, { base: estimate(base), learned: estimate(learned) }]),
  );
}

function estimate(values: readonly number[]): Estimate {
  return { mean: mean(values), standardError: standardError(values) };
}

function diversityRatio(
  base: readonly ArrayLike<number>[],
  learned: readonly ArrayLike<number>[],
): number | null {
  const baseDistance = meanPairwiseDistance(base);
  return baseDistance === 0 ? null : meanPairwiseDistance(learned) / baseDistance;
}
