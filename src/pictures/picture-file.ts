import sharp from 'sharp';
import type { Picture } from '../core/picture.ts';

/** File formats for pictures. */
export type PictureFormat = 'png' | 'webp' | 'jpeg';

/**
 * Encodes a picture as a file. Settings are fixed and no metadata is added, so the same pixels give
 * the same bytes.
 */
export async function encodePicture(
  { width, height, pixels }: Picture,
  format: PictureFormat,
): Promise<Uint8Array> {
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  switch (format) {
    case 'png':
      return image.png({ compressionLevel: 6, adaptiveFiltering: false, palette: false }).toBuffer();
    case 'webp':
      return image.webp({ quality: 90 }).toBuffer();
    case 'jpeg':
      return image.jpeg({ quality: 92, chromaSubsampling: '4:4:4' }).toBuffer();
  }
}
