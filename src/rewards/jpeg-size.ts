import sharp from 'sharp';
import type { JpegSizeReward } from '../bundles/reward-bundle.ts';
import type { Scorer } from './scorer.ts';

/**
 * Scores a picture by the kilobytes of its JPEG: the incompressibility of DDPO (Black et al. 2023,
 * arXiv 2305.13301, section 5.2). Its optimum is easy to see, which suits tests of black boxes.
 */
export function jpegSizeScorer({ quality }: JpegSizeReward): Scorer {
  return {
    async score(pictures) {
      const sizes = pictures.map(async ({ width, height, pixels }) => {
        const image = sharp(pixels, { raw: { width, height, channels: 3 } });
        return (await image.jpeg({ quality }).toBuffer()).byteLength / 1000;
      });
      return Promise.all(sizes);
    },
  };
}
