import { createHash } from 'node:crypto';
import { digitsOf } from '../src/contract/ids.ts';
import type { ImageRecord } from '../src/contract/records.ts';
import type { Picture } from '../src/core/picture.ts';
import { encodePicture } from '../src/pictures/encode.ts';
import { sha256Of } from '../src/sha256.ts';
import type { WorkerContext } from './context.ts';

/** Previews of a job and the samples that it ends with have the same parent time: their numbers are kept apart. */
export const PREVIEW_OFFSET = 2 ** 19;

/**
 * The id of a parent's picture: the parent's time, a hash of the whole of its id (which clients may choose, one like the other),
 * and the number. Derived, so that work that is done over after a crash writes over itself.
 * @param number integer in [0, 2^20)
 */
export function imageId(parentId: string, number: number): string {
  const own = parentId.slice(parentId.indexOf('_') + 1);
  const hash = digitsOf(createHash('sha256').update(own).digest().subarray(0, 12));
  const digits = digitsOf(Uint8Array.from([15, 10, 5, 0], (shift) => number >> shift));
  return `img_${own.slice(0, 10)}${hash}${digits}`;
}

/** Encodes a picture and stores it, bytes first, so that a record never points at nothing. */
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
  await store.images.create(record, { parent: parentId });
  return record;
}
