import { createHash } from 'node:crypto';
import { base32Digits } from '../src/contract/ids.ts';
import { ProblemError } from '../src/contract/problem.ts';
import type { ImageRecord, SampleRecord } from '../src/contract/records.ts';
import type { Image } from '../src/contract/schemas/sample.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import { STREAMS } from '../src/core/noise.ts';
import type { Picture } from '../src/core/picture.ts';
import { scoresByTerm, termNames } from '../src/jobs/choose-bundles.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../src/numerics/distributions/sample.ts';
import { encodePicture } from '../src/pictures/picture-file.ts';
import { sha256Of } from '../src/sha256.ts';
import type { WorkerContext } from './context.ts';

/**
 * Offset of the numbers of a job's previews. A job and its samples have ids with the same digits
 * (`derivedId`), so without the offset a preview and a sampled image could get the same id.
 */
export const PREVIEW_OFFSET = 2 ** 19;

/**
 * The id of a picture: the time of its parent's id, a hash of all of that id (a client may choose
 * ids that are alike), and a number. Work that is repeated after a crash gets the same ids and
 * overwrites its own images.
 * @param parentId of the job or the samples
 * @param number integer in [0, 2^20)
 */
export function imageId(parentId: string, number: number): string {
  const digits = parentId.slice(parentId.indexOf('_') + 1);
  const hash = base32Digits(createHash('sha256').update(digits).digest().subarray(0, 12));
  const numberDigits = base32Digits(Uint8Array.from([15, 10, 5, 0], (shift) => number >> shift));
  return `img_${digits.slice(0, 10)}${hash}${numberDigits}`;
}

/** Encodes and stores a picture. The bytes come first, so that no record names a missing file. */
export async function storeImage(
  { blobs, store }: WorkerContext,
  image: {
    readonly id: string;
    readonly parentId: string;
    readonly tenant: string;
    readonly picture: Picture;
    readonly format: 'png' | 'webp' | 'jpeg';
  },
): Promise<ImageRecord> {
  const { id, parentId, tenant, picture, format } = image;
  const key = `images/${id}.${format}`;
  const file = await encodePicture(picture, format);
  await blobs.put(key, file);
  const { width, height } = picture;
  const record = {
    id,
    key,
    tenant,
    width,
    height,
    format,
    createdAt: new Date().toISOString(),
    bytes: file.length,
    sha256: sha256Of(file),
  };
  await store.images.create(record, { parent: parentId, isAccepted: true });
  return record;
}

/**
 * Samples `bestOf` pictures and stores the `count` with the highest rewards; if the two are equal,
 * all in the order of their indices. Index i of a seed gives the same picture whatever `count` is.
 * @param parameters `distribution` null: N(0, I)
 */
export async function sampleImages(
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
  const { tenant, seed, count, bestOf, format, reward: choice } = settings;
  const keys = Array.from({ length: bestOf }, (_, index) => ({ seed, stream: STREAMS.samples, index }));
  const evaluations = await evaluator.evaluate(
    keys.map((key) => (distribution ? { key, values: sampleNoise(distribution, key) } : { key })),
    { reward: choice !== null, pictures: true, signal },
  );
  const best = evaluations
    .map((evaluation, index) => ({ ...evaluation, index }))
    .sort((a, b) => (bestOf > count ? (b.reward ?? 0) - (a.reward ?? 0) : 0) || a.index - b.index)
    .slice(0, count);

  const images: Image[] = [];
  const names = termNames(choice);
  for (const { picture, reward, terms, index } of best) {
    if (!picture) throw new ProblemError('generation-failed', 'The image pipeline returned no picture.');
    const { id, width, height } = await storeImage(context, {
      id: imageId(sampleId, index),
      parentId: sampleId,
      tenant,
      picture,
      format,
    });
    images.push({
      id,
      url: `/v1/images/${id}`,
      seed,
      index,
      reward,
      ...(names && terms ? { terms: scoresByTerm(names, terms) } : {}),
      width,
      height,
      format,
    });
  }
  return images;
}
