import type { Preprocessing } from '../bundles/preprocessing.ts';
import type { Picture } from '../core/picture.ts';
import { roundHalfToEven } from '../numerics/rounding.ts';
import { resample } from './resampling.ts';

/** The model input `pixel_values` for one picture: [3, height, width]. */
export interface PixelValues {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
}

/**
 * Resizes, crops, rescales and normalizes a picture, as a Hugging Face image processor with PIL.
 */
export function preprocess(picture: Picture, steps: Preprocessing): PixelValues {
  const resized = resize(picture, steps);
  const { width, height } = steps.crop ?? resized;
  const cropStart = steps.cropRounding === 'nearest' ? torchvisionCropStart : transformersCropStart;
  const left = cropStart(resized.width - width);
  const top = cropStart(resized.height - height);
  const values = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const { [channel]: mean } = steps.mean;
    const { [channel]: std } = steps.std;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [sourceX, sourceY] = [x + left, y + top];
        const inside = sourceX >= 0 && sourceY >= 0 && sourceX < resized.width && sourceY < resized.height;
        // Where a crop is larger than the picture, it is black.
        const byte = inside ? resized.pixels[(sourceY * resized.width + sourceX) * 3 + channel] : 0;
        values[(channel * height + y) * width + x] = (byte * steps.rescaleFactor - mean) / std;
      }
    }
  }
  return { width, height, values };
}

/**
 * The pixels that a center crop skips on the left or at the top; negative if it pads there.
 * @param margin size of the picture minus size of the crop
 */
function transformersCropStart(margin: number): number {
  return Math.floor(margin / 2);
}

/** As `transformersCropStart`, with torchvision's rounding. */
function torchvisionCropStart(margin: number): number {
  return margin < 0 ? Math.ceil(margin / 2) : roundHalfToEven(margin / 2);
}

function resize(picture: Picture, { resize: size, resample: filter }: Preprocessing): Picture {
  if (size === null) return picture;
  if ('width' in size) return resample(picture, size.width, size.height, filter);
  const { width, height } = picture;
  if ('longestEdge' in size) {
    const scale = size.longestEdge / Math.max(width, height);
    // The shorter side of a very long picture would round to 0.
    const side = (length: number) => Math.max(1, roundHalfToEven(length * scale));
    return resample(picture, side(width), side(height), filter);
  }
  const short = size.shortestEdge;
  return width <= height
    ? resample(picture, short, Math.floor((short * height) / width), filter)
    : resample(picture, Math.floor((short * width) / height), short, filter);
}
