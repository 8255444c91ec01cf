import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';

/** The family that every figure names first; browsers without it take the next ones. */
export const FONT_FAMILY = "'DejaVu Sans', Verdana, sans-serif";

// The fonts come with the package, so that a figure looks the same on a machine that has no fonts at all.
const FONTS = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf');
const FONT_FILES = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'].map((file) => join(FONTS, file));

/**
 * A figure as PNG.
 *
 * @param svg a whole SVG document that uses `FONT_FAMILY`
 * @param options.width pixels across, height in proportion; the figure's own width when left out
 * @throws Error when `svg` is not well-formed
 */
export function renderSvg(svg: string, { width }: { readonly width?: number } = {}): Uint8Array {
  const picture = new Resvg(svg, {
    font: { loadSystemFonts: false, fontFiles: FONT_FILES, defaultFontFamily: 'DejaVu Sans' },
    fitTo: width === undefined ? { mode: 'original' } : { mode: 'width', value: width },
  });
  return picture.render().asPng();
}
