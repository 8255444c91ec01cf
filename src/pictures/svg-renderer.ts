import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';

/** Fonts of all figures; browsers without the first one use the next. */
export const FONT_FAMILY = "'DejaVu Sans', Verdana, sans-serif";

// The fonts are a dependency, so figures look the same on machines without fonts.
const FONTS = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf');
const FONT_FILES = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'].map((file) => join(FONTS, file));

/**
 * Renders a figure as PNG.
 * @param svg an SVG document that uses `FONT_FAMILY`
 * @param options.width width in pixels, with the height in proportion; by default the width of
 *   the SVG
 * @throws Error if `svg` is not well-formed
 */
export function renderSvg(svg: string, { width }: { readonly width?: number } = {}): Uint8Array {
  const picture = new Resvg(svg, {
    font: { loadSystemFonts: false, fontFiles: FONT_FILES, defaultFontFamily: 'DejaVu Sans' },
    fitTo: width === undefined ? { mode: 'original' } : { mode: 'width', value: width },
  });
  return picture.render().asPng();
}
