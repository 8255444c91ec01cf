import { ProblemError } from '../src/contract/problem.ts';
import type { SampleRecord } from '../src/contract/records.ts';
import type { Image } from '../src/contract/schemas/sample.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import { STREAMS } from '../src/core/noise.ts';
import { byName, termNames } from '../src/jobs/resolve-bundles.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../src/numerics/distributions/sample.ts';
import type { WorkerContext } from './context.ts';
import { imageId, storeImage } from './images.ts';

/**
 * Draws `bestOf` new pictures and stores the `count` best (in the order of their draws when none are left out).
 * Draw i of a seed is the same picture whatever `count` is.
 * @param distribution what to key from; null: N(0, I)
 */
export async function drawSamples(
  context: WorkerContext,
  parameters: {
    readonly sampleId: string;
    readonly settings: Pick<SampleRecord, 'tenant' | 'seed' | 'count' | 'bestOf' | 'format' | 'reward'>;
    readonly distribution: NoiseDistribution | null;
    readonly evaluator: Evaluator;
    readonly signal?: AbortSignal;
  },
): Promise<Image[]> {
  const { settings, distribution, evaluator, sampleId, signal } = parameters;
  const draws = Array.from({ length: settings.bestOf }, (_, index) => ({
    seed: settings.seed,
    stream: STREAMS.samples,
    index,
  }));
  const evaluations = await evaluator.evaluate(
    draws.map((key) => (distribution ? { key, values: sampleNoise(distribution, key) } : { key })),
    { reward: settings.reward !== null, pictures: true, signal },
  );
  const kept = evaluations
    .map((evaluation, index) => ({ ...evaluation, index }))
    .sort(
      (a, b) =>
        (settings.bestOf > settings.count ? (b.reward ?? 0) - (a.reward ?? 0) : 0) || a.index - b.index,
    )
    .slice(0, settings.count);

  const images: Image[] = [];
  const names = termNames(settings.reward);
  for (const { picture, reward, terms, index } of kept) {
    if (!picture) throw new ProblemError('generation-failed', 'The generator gave no picture.');
    const { id, width, height } = await storeImage(context, {
      id: imageId(sampleId, index),
      parentId: sampleId,
      tenant: settings.tenant,
      picture,
      format: settings.format,
    });
    images.push({
      id,
      url: `/v1/images/${id}`,
      seed: settings.seed,
      index,
      reward,
      ...(names && terms ? { terms: byName(names, terms) } : {}),
      width,
      height,
      format: settings.format,
    });
  }
  return images;
}
