import sharp from 'sharp';
import type { JpegSizeReward } from '../bundles/reward-bundle.ts';
import type { Scorer } from './scorer.ts';

/**
 * Kilobytes of each picture as a JPEG, the incompressibility of Black et al. 2023 (DDPO, arXiv 2305.13301, section 5.2): a black box
 * whose best answer anybody can see.
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
