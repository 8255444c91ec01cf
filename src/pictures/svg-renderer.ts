import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Resvg, type ResvgRenderOptions, renderAsync } from '@resvg/resvg-js';

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
  return new Resvg(svg, renderOptions(width)).render().asPng();
}

/** Resolves when the latest figure of the pool is rendered. */
let latestFigure: Promise<unknown> = Promise.resolve();

/**
 * `renderSvg` in libuv's thread pool, for a process that answers requests; the same bytes. One
 * figure is rendered at a time, because the same few threads read files.
 * @throws Error if `svg` is not well-formed
 */
export function renderSvgInPool(svg: string): Promise<Uint8Array> {
  const figure = latestFigure.then(async () => (await renderAsync(svg, renderOptions(undefined))).asPng());
  latestFigure = figure.catch(() => {});
  return figure;
}

function renderOptions(width: number | undefined): ResvgRenderOptions {
  return {
    font: { loadSystemFonts: false, fontFiles: FONT_FILES, defaultFontFamily: 'DejaVu Sans' },
    fitTo: width === undefined ? { mode: 'original' } : { mode: 'width', value: width },
  };
}
