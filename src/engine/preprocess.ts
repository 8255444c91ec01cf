import type { Preprocessing } from '../bundles/preprocessing.ts';
import type { Picture } from '../core/picture.ts';
import { roundHalfToEven } from '../numerics/rounding.ts';
import { resample } from './resample.ts';

/** `pixel_values` of one picture: [3, height, width]. */
export interface PixelValues {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
}

/** Resize, crop, rescale and normalise, as a Hugging Face image processor does with PIL. */
export function preprocess(picture: Picture, steps: Preprocessing): PixelValues {
  const resized = steps.resize ? resize(picture, steps) : picture;
  const { width, height } = steps.crop ?? resized;
  const begin = steps.cropRounding === 'nearest' ? beginAsTorchvision : beginAsTransformers;
  const left = begin(resized.width - width);
  const top = begin(resized.height - height);
  const values = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const { [channel]: mean } = steps.mean;
    const { [channel]: std } = steps.std;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [sourceX, sourceY] = [x + left, y + top];
        const inside = sourceX >= 0 && sourceY >= 0 && sourceX < resized.width && sourceY < resized.height;
        // A crop that is larger than the picture is padded with black.
        const byte = inside ? resized.pixels[(sourceY * resized.width + sourceX) * 3 + channel] : 0;
        values[(channel * height + y) * width + x] = (byte * steps.rescaleFactor - mean) / std;
      }
    }
  }
  return { width, height, values };
}

/** `left`: pixels of the picture that the crop leaves out; below 0, pixels of black that it adds. */
function beginAsTransformers(left: number): number {
  return Math.floor(left / 2);
}

function beginAsTorchvision(left: number): number {
  return left < 0 ? Math.ceil(left / 2) : roundHalfToEven(left / 2);
}

function resize(picture: Picture, { resize: size, resample: filter }: Preprocessing): Picture {
  if (size === null) return picture;
  if ('width' in size) return resample(picture, size.width, size.height, filter);
  const { width, height } = picture;
  if ('longestEdge' in size) {
    const scale = size.longestEdge / Math.max(width, height);
    // A side so much shorter than the other that nothing would be left of it.
    const side = (length: number) => Math.max(1, roundHalfToEven(length * scale));
    return resample(picture, side(width), side(height), filter);
  }
  const short = size.shortestEdge;
  return width <= height
    ? resample(picture, short, Math.floor((short * height) / width), filter)
    : resample(picture, Math.floor((short * width) / height), short, filter);
}
