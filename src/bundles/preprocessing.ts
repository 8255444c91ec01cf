import { BundleError, type Json } from './files.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** How a picture becomes `pixel_values`; the steps of a Hugging Face image processor, in their order. */
export interface Preprocessing {
  /**
   * Resize to this; `shortestEdge` keeps the proportions, the longer side rounded down; `longestEdge` too, the shorter side rounded to the nearest
   * (HPSv2, which then pads with black). null: as it is.
   */
  readonly resize: { readonly shortestEdge: number } | { readonly longestEdge: number } | Size | null;
  readonly resample: 'nearest' | 'lanczos' | 'bilinear' | 'bicubic';
  readonly crop: Size | null;
  /**
   * Where a crop begins when what is left over is odd: transformers rounds down, torchvision to the nearest (halves to the even number).
   * Where black is put around a picture that is smaller, transformers puts the odd line before it and torchvision behind it.
   */
  readonly cropRounding: 'floor' | 'nearest';
  /** What 8-bit values are multiplied with. */
  readonly rescaleFactor: number;
  /** One value per channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

const FILE = 'preprocessor_config.json';

/** By PIL's numbers. */
const FILTERS = ['nearest', 'lanczos', 'bilinear', 'bicubic'] as const;

const CROPS = 'a number, [height, width], or width and height';

/** Classes of transformers for which a size of one number is a square's; for the others, as CLIP's, it is the shorter side. */
const SQUARE = /^(Blip|ViT|Siglip)/;

/**
 * Reads a `preprocessor_config.json` as CLIPImageProcessor and its kind do; `crop_rounding` ("floor" or "nearest") is ours. Pictures are
 * RGB already, so `do_convert_rgb` asks for nothing.
 * @throws BundleError that names the key
 */
export function readPreprocessing(config: Json): Preprocessing {
  const resample = FILTERS[Number(config.resample ?? 3)];
  if (!resample)
    refuse('resample', config.resample, '0 (nearest), 1 (Lanczos), 2 (bilinear) and 3 (bicubic)');
  const rounding = config.crop_rounding ?? 'floor';
  if (rounding !== 'floor' && rounding !== 'nearest')
    refuse('crop_rounding', rounding, '"floor" or "nearest"');
  const rescaleFactor = config.do_rescale === false ? 1 : (config.rescale_factor ?? 1 / 255);
  if (typeof rescaleFactor !== 'number' || !Number.isFinite(rescaleFactor))
    refuse('rescale_factor', rescaleFactor, 'a number');
  const normalizes = config.do_normalize !== false;
  const std = normalizes ? channels(config.image_std, 'image_std') : [1, 1, 1];
  if (std.includes(0)) refuse('image_std', std, 'numbers that can be divided by');
  return {
    resize: config.do_resize === false ? null : readResize(config),
    resample,
    crop: config.do_center_crop
      ? (readSize(config.crop_size) ?? refuse('crop_size', config.crop_size, CROPS))
      : null,
    cropRounding: rounding,
    rescaleFactor,
    mean: normalizes ? channels(config.image_mean, 'image_mean') : [0, 0, 0],
    std,
  };
}

function readResize(config: Json): Preprocessing['resize'] {
  const { size } = config;
  if (size === undefined || size === null) return null;
  const type = String(config.image_processor_type ?? config.feature_extractor_type ?? '');
  if (isSide(size) && !SQUARE.test(type)) return { shortestEdge: size };
  const edges = size as { shortest_edge?: unknown; longest_edge?: unknown };
  const { shortest_edge: shortestEdge, longest_edge: longestEdge } = edges;
  if (isSide(shortestEdge) && longestEdge === undefined) return { shortestEdge };
  if (isSide(longestEdge) && shortestEdge === undefined) return { longestEdge };
  const accepted = 'a number, [height, width], shortest_edge, longest_edge, or width and height';
  return readSize(size) ?? refuse('size', size, accepted);
}

/** A number, [height, width] or an object. */
function readSize(size: unknown): Size | null {
  if (isSide(size)) return { width: size, height: size };
  const [height, width] = Array.isArray(size)
    ? size
    : [(size as { height?: unknown } | null)?.height, (size as { width?: unknown } | null)?.width];
  return isSide(width) && isSide(height) ? { width, height } : null;
}

function isSide(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0;
}

function channels(value: unknown, key: string): number[] {
  if (Array.isArray(value) && value.length === 3 && value.every((number) => Number.isFinite(number)))
    return value;
  return refuse(key, value, 'three numbers');
}

function refuse(key: string, value: unknown, accepted: string): never {
  throw new BundleError(`${FILE} has ${key} ${JSON.stringify(value)}; it takes ${accepted}`);
}
