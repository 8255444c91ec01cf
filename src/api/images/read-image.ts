import type { FastifyRequest } from 'fastify';
import sharp from 'sharp';
import type { Image } from '../../contract/schemas/sample.ts';
import { readStoredFile } from '../../jobs/stored-files.ts';
import type { Services } from '../services.ts';

/**
 * The file of an image.
 * @param format the image is converted to it; left out: as it was stored
 * @throws ProblemError `not-found`, `gone`, or `damaged` when the bytes in storage have changed
 */
export async function readImage(
  { blobs }: Services,
  { store }: FastifyRequest,
  id: string,
  format?: Image['format'],
): Promise<Buffer> {
  const image = await store.images.get(id);
  const bytes = await readStoredFile(blobs, { ...image, description: `image ${id}` });
  if (format === undefined || format === image.format) return Buffer.from(bytes);
  return sharp(bytes).toFormat(format).toBuffer();
}
