import { BundleError, type Json } from './files.ts';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** How a picture becomes `pixel_values`: the steps of a Hugging Face image processor, in order. */
export interface Preprocessing {
  /**
   * Size to resample to; null: no resampling. With `shortestEdge` the longer side keeps the
   * proportions, rounded down. With `longestEdge` the shorter side does, rounded to the nearest, as
   * in HPSv2, which then pads with black.
   */
  readonly resize: { readonly shortestEdge: number } | { readonly longestEdge: number } | Size | null;
  readonly resample: 'nearest' | 'lanczos' | 'bilinear' | 'bicubic';
  /** Size of the center crop; null: no crop. A smaller picture is padded with black. */
  readonly crop: Size | null;
  /**
   * Where a crop starts if the margin is odd: `floor` as in transformers, or `nearest` (halves to
   * even) as in torchvision. Of an odd padding, transformers puts the additional line before the
   * picture, torchvision behind it.
   */
  readonly cropRounding: 'floor' | 'nearest';
  /** Factor for the 8-bit values. */
  readonly rescaleFactor: number;
  /** Mean of each channel, subtracted after rescaling. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel, divided by last. */
  readonly std: readonly number[];
}

const FILE = 'preprocessor_config.json';

/** Filters by PIL's numbers. */
const FILTERS = ['nearest', 'lanczos', 'bilinear', 'bicubic'] as const;

const CROPS = 'a number, [height, width], or width and height';

/**
 * Image processors of transformers that read a single number as the side of a square. All others,
 * such as CLIP's, read it as the shorter side.
 */
const SQUARE_PROCESSOR = /^(Blip|ViT|Siglip)/;

/**
 * Reads a `preprocessor_config.json` as CLIPImageProcessor and its relatives do. The key
 * `crop_rounding` ("floor" or "nearest") is an addition of findery. `do_convert_rgb` is ignored:
 * pictures are RGB already.
 * @throws BundleError that names the key
 */
export function readPreprocessing(config: Json): Preprocessing {
  const resample = FILTERS[Number(config.resample ?? 3)];
  if (!resample)
    reject('resample', config.resample, '0 (nearest), 1 (Lanczos), 2 (bilinear) and 3 (bicubic)');
  const rounding = config.crop_rounding ?? 'floor';
  if (rounding !== 'floor' && rounding !== 'nearest')
    reject('crop_rounding', rounding, '"floor" or "nearest"');
  const rescaleFactor = config.do_rescale === false ? 1 : (config.rescale_factor ?? 1 / 255);
  if (typeof rescaleFactor !== 'number' || !Number.isFinite(rescaleFactor))
    reject('rescale_factor', rescaleFactor, 'a number');
  const normalizes = config.do_normalize !== false;
  const std = normalizes ? channels(config.image_std, 'image_std') : [1, 1, 1];
  if (std.includes(0)) reject('image_std', std, 'numbers other than 0');
  return {
    resize: config.do_resize === false ? null : readResize(config),
    resample,
    crop: config.do_center_crop
      ? (readSize(config.crop_size) ?? reject('crop_size', config.crop_size, CROPS))
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
  if (isSide(size) && !SQUARE_PROCESSOR.test(type)) return { shortestEdge: size };
  const edges = size as { shortest_edge?: unknown; longest_edge?: unknown };
  const { shortest_edge: shortestEdge, longest_edge: longestEdge } = edges;
  if (isSide(shortestEdge) && longestEdge === undefined) return { shortestEdge };
  if (isSide(longestEdge) && shortestEdge === undefined) return { longestEdge };
  const accepted = 'a number, [height, width], shortest_edge, longest_edge, or width and height';
  return readSize(size) ?? reject('size', size, accepted);
}

/** A size given as a number, [height, width] or an object; null for anything else. */
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
  return reject(key, value, 'three numbers');
}

function reject(key: string, value: unknown, accepted: string): never {
  throw new BundleError(`${FILE} has ${key} ${JSON.stringify(value)}; it takes ${accepted}`);
}
