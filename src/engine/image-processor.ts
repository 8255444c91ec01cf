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
  // Where a crop is larger than the picture, it is black.
  const [firstX, endX] = overlap(left, width, resized.width);
  const [firstY, endY] = overlap(top, height, resized.height);
  for (let channel = 0; channel < 3; channel++) {
    const normalized = normalizedBytes(steps, channel);
    const plane = values.subarray(channel * width * height, (channel + 1) * width * height);
    if (endX - firstX < width || endY - firstY < height) plane.fill(normalized[0]);
    for (let y = firstY; y < endY; y++) {
      let from = ((y + top) * resized.width + firstX + left) * 3 + channel;
      for (let at = y * width + firstX; at < y * width + endX; at++) {
        plane[at] = normalized[resized.pixels[from]];
        from += 3;
      }
    }
  }
  return { width, height, values };
}

/** The part of a crop's axis that lies in the picture: from, to. */
function overlap(start: number, length: number, pictureLength: number): readonly [number, number] {
  return [Math.max(0, -start), Math.min(length, pictureLength - start)];
}

/** The value of each byte of a channel: rescaled, normalized. */
function normalizedBytes({ mean, std, rescaleFactor }: Preprocessing, channel: number): Float32Array {
  return Float32Array.from(
    { length: 256 },
    (_, byte) => (byte * rescaleFactor - mean[channel]) / std[channel],
  );
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
