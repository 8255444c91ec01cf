import sharp from 'sharp';

/** Decodes an image file; `at` returns the RGB values of a pixel. */
export async function readPixels(png: Uint8Array) {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return {
    ...info,
    at: (x: number, y: number) => [...data.subarray((y * info.width + x) * 3).subarray(0, 3)],
  };
}

/** Encodes RGB colors, row by row, as PNG. */
export function encodePng(width: number, height: number, colors: readonly number[][]): Promise<Uint8Array> {
  return sharp(Uint8Array.from(colors.flat()), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Content of a small reward curve. */
export const CURVE = { rewards: [-1, 0.5, 1], smoothed: [-0.5, 0.25, 0.75], title: 'a dog', sigma: 2 };
