import type { Evaluation, Evaluator } from '../core/evaluator.ts';
import { STREAMS } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../numerics/distributions/sample.ts';
import { summarizeReport } from '../numerics/report.ts';

/**
 * Judges a learned distribution on fresh draws that no search sees (their stream is kept apart): the same noise goes through
 * N(0, I) and through the distribution.
 * @param features of a picture, for the diversity ratio; pictures are far apart when their features are
 */
export async function judgeDistribution(parameters: {
  readonly distribution: NoiseDistribution;
  readonly evaluator: Evaluator;
  readonly seed: number;
  readonly features: (picture: Picture) => Float32Array;
  /** Of each distribution; 2 or more, 32 for figures that mean something. */
  readonly draws: number;
  readonly signal?: AbortSignal;
}) {
  const { distribution, evaluator, seed, features, signal, draws } = parameters;
  const addresses = Array.from({ length: draws }, (_, index) => ({ seed, stream: STREAMS.report, index }));
  const learnedNoises = addresses.map((key) => sampleNoise(distribution, key));
  const options = { reward: true, pictures: true, signal };
  const base = await evaluator.evaluate(
    addresses.map((key) => ({ key })),
    options,
  );
  const learned = await evaluator.evaluate(
    addresses.map((key, i) => ({ key, values: learnedNoises[i] })),
    options,
  );
  const report = summarizeReport({
    baseRewards: base.map(rewardOf),
    learnedRewards: learned.map(rewardOf),
    baseFeatures: featuresOf(base, features),
    learnedFeatures: featuresOf(learned, features),
    learnedNoises,
  });
  return { report, base, learned };
}

const rewardOf = ({ reward }: Evaluation) => reward as number;

function featuresOf(
  evaluations: readonly Evaluation[],
  features: (picture: Picture) => Float32Array,
): Float32Array[] | null {
  const pictures = evaluations.map(({ picture }) => picture).filter((picture) => picture !== null);
  return pictures.length === evaluations.length ? pictures.map((picture) => features(picture)) : null;
}
