import type { Evaluation, Evaluator } from '../core/evaluator.ts';
import { STREAMS } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../numerics/distributions/sample.ts';
import { type ReportSummary, summarizeReport } from '../numerics/report.ts';

/**
 * Compares a learned distribution with N(0, I) on noises that no search sees: they have their own
 * stream of noise keys. Both distributions are sampled from the same keys.
 */
export async function evaluateDistribution(parameters: {
  readonly distribution: NoiseDistribution;
  readonly evaluator: Evaluator;
  readonly seed: number;
  /** Features of a picture, for the diversity ratio: different pictures have distant features. */
  readonly features: (picture: Picture) => Float32Array;
  /** Number of samples of each distribution: 2 or more, 32 for figures that mean something. */
  readonly samples: number;
  /** Names of the reward's terms, in the order of their scores; null if the reward is one score. */
  readonly termNames: readonly string[] | null;
  readonly signal?: AbortSignal;
}): Promise<ReportSummary> {
  const { distribution, evaluator, seed, features, samples, termNames, signal } = parameters;
  const keys = Array.from({ length: samples }, (_, index) => ({ seed, stream: STREAMS.report, index }));
  const learnedNoises = keys.map((key) => sampleNoise(distribution, key));
  const options = { reward: true, pictures: true, signal };
  const base = await evaluator.evaluate(
    keys.map((key) => ({ key })),
    options,
  );
  const learned = await evaluator.evaluate(
    keys.map((key, i) => ({ key, values: learnedNoises[i] })),
    options,
  );
  return summarizeReport({
    baseRewards: base.map(rewardOf),
    learnedRewards: learned.map(rewardOf),
    baseFeatures: featuresOf(base, features),
    learnedFeatures: featuresOf(learned, features),
    learnedNoises,
    ...(termNames && {
      terms: termNames.map((name, k) => ({
        name,
        base: base.map(({ terms }) => terms?.[k] ?? 0),
        learned: learned.map(({ terms }) => terms?.[k] ?? 0),
      })),
    }),
  });
}

/** The reward, which is not null because it was asked for. */
const rewardOf = ({ reward }: Evaluation) => reward as number;

/** Features of all pictures; null if the evaluator made none. */
function featuresOf(
  evaluations: readonly Evaluation[],
  features: (picture: Picture) => Float32Array,
): Float32Array[] | null {
  const pictures = evaluations.map(({ picture }) => picture).filter((picture) => picture !== null);
  return pictures.length === evaluations.length ? pictures.map((picture) => features(picture)) : null;
}
