import { BundleError, type Json } from './files.ts';

/** How a picture becomes `pixel_values`; the steps of a Hugging Face image processor, in their order. */
export interface Preprocessing {
  /** Resize to this; `shortestEdge` keeps the proportions. null: as it is. */
  readonly resize: { readonly shortestEdge: number } | { readonly width: number; readonly height: number } | null;
  readonly resample: 'bilinear' | 'bicubic';
  readonly crop: { readonly width: number; readonly height: number } | null;
  /** Where a crop begins when what is left over is odd: transformers rounds down, torchvision to the nearest (halves to the even number). */
  readonly cropRounding: 'floor' | 'nearest';
  /** What 8-bit values are multiplied with. */
  readonly rescaleFactor: number;
  /** One value per channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** PIL's numbers of resampling filters. */
const RESAMPLE: { readonly [number: number]: Preprocessing['resample'] } = { 2: 'bilinear', 3: 'bicubic' };

/** @throws BundleError that names the key */
export function readPreprocessing(config: Json): Preprocessing {
  const file = 'preprocessor_config.json';
  const resample = RESAMPLE[Number(config.resample ?? 3)];
  if (!resample)
    throw new BundleError(
      `${file} has resample ${JSON.stringify(config.resample)}; 2 (bilinear) and 3 (bicubic) are known`,
    );
  const size = config.size as { shortest_edge?: number; width?: number; height?: number } | number | undefined;
  const crop = config.crop_size as { width: number; height: number } | number | undefined;
  return {
    resize: config.do_resize === false || size === undefined ? null : readSize(size, file),
    resample,
    crop:
      config.do_center_crop && crop !== undefined
        ? typeof crop === 'number'
          ? { width: crop, height: crop }
          : crop
        : null,
    cropRounding: config.crop_rounding === 'nearest' ? 'nearest' : 'floor',
    rescaleFactor: config.do_rescale === false ? 1 : Number(config.rescale_factor ?? 1 / 255),
    mean: config.do_normalize === false ? [0, 0, 0] : channels(config.image_mean, 'image_mean', file),
    std: config.do_normalize === false ? [1, 1, 1] : channels(config.image_std, 'image_std', file),
  };
}

function readSize(
  size: { shortest_edge?: number; width?: number; height?: number } | number,
  file: string,
): NonNullable<Preprocessing['resize']> {
  if (typeof size === 'number') return { shortestEdge: size };
  if (size.shortest_edge) return { shortestEdge: size.shortest_edge };
  if (size.width && size.height) return { width: size.width, height: size.height };
  throw new BundleError(`${file} has size ${JSON.stringify(size)}; it takes shortest_edge, or width and height`);
}

function channels(value: unknown, key: string, file: string): number[] {
  if (Array.isArray(value) && value.length === 3 && value.every((number) => Number.isFinite(number))) return value;
  throw new BundleError(`${file} has ${key} ${JSON.stringify(value)}; it takes three numbers`);
}
