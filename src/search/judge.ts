import { STREAMS } from '../numerics/draw.ts';
import type { Law } from '../numerics/laws/law.ts';
import { sampleLaw } from '../numerics/laws/sample.ts';
import { summarizeReport } from '../numerics/report.ts';
import type { Evaluation, Generator, Picture } from './generator.ts';

/**
 * Judges a learned law on fresh draws that no search sees (their stream is kept apart): the same noise goes through
 * N(0, I) and through the law.
 * @param features of a picture, for the diversity ratio; pictures are far apart when their features are
 */
export async function judgeLaw(parameters: {
  readonly law: Law;
  readonly generator: Generator;
  readonly seed: number;
  readonly features: (picture: Picture) => Float32Array;
  /** Of each law; 2 or more, 32 for figures that mean something. */
  readonly draws: number;
  readonly signal?: AbortSignal;
}) {
  const { law, generator, seed, features, signal, draws } = parameters;
  const addresses = Array.from({ length: draws }, (_, index) => ({ seed, stream: STREAMS.report, index }));
  const learnedNoises = addresses.map((draw) => sampleLaw(law, draw));
  const options = { reward: true, pictures: true, signal };
  const base = await generator.evaluate(
    addresses.map((draw) => ({ draw })),
    options,
  );
  const learned = await generator.evaluate(
    addresses.map((draw, i) => ({ draw, noise: learnedNoises[i] })),
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
