import { byName, termNames } from '../src/jobs/choices.ts';
import { ProblemError } from '../src/jobs/problem.ts';
import type { Image } from '../src/jobs/schemas/sample.ts';
import type { SampleRecord } from '../src/jobs/store.ts';
import { STREAMS } from '../src/numerics/draw.ts';
import type { Law } from '../src/numerics/laws/law.ts';
import { sampleLaw } from '../src/numerics/laws/sample.ts';
import type { Generator } from '../src/search/generator.ts';
import type { WorkerContext } from './context.ts';
import { imageId, storeImage } from './images.ts';

/**
 * Draws `bestOf` new pictures and stores the `count` best (in the order of their draws when none are left out).
 * Draw i of a seed is the same picture whatever `count` is.
 * @param law what to draw from; null: N(0, I)
 */
export async function drawSamples(
  context: WorkerContext,
  parameters: {
    readonly sampleId: string;
    readonly settings: Pick<SampleRecord, 'tenant' | 'seed' | 'count' | 'bestOf' | 'format' | 'reward'>;
    readonly law: Law | null;
    readonly generator: Generator;
    readonly signal?: AbortSignal;
  },
): Promise<Image[]> {
  const { settings, law, generator, sampleId, signal } = parameters;
  const draws = Array.from({ length: settings.bestOf }, (_, index) => ({
    seed: settings.seed,
    stream: STREAMS.samples,
    index,
  }));
  const evaluations = await generator.evaluate(
    draws.map((draw) => (law ? { draw, noise: sampleLaw(law, draw) } : { draw })),
    { reward: settings.reward !== null, pictures: true, signal },
  );
  const kept = evaluations
    .map((evaluation, index) => ({ ...evaluation, index }))
    .sort((a, b) => (settings.bestOf > settings.count ? (b.reward ?? 0) - (a.reward ?? 0) : 0) || a.index - b.index)
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
