import { FONT_FAMILY } from './render-svg.ts';
import { clipText, escapeText, INK } from './svg-text.ts';

export interface ContactSheet {
  /** The prompt, usually. Any text; what is too long is cut. */
  readonly title: string;
  readonly subtitle: string;
  /** One distribution each, such as base and learned; pictures at one place of two rows are compared. */
  readonly rows: readonly { readonly label: string; readonly pictures: readonly CaptionedPicture[] }[];
  /** Side of the square that each picture is fitted into; default 128. */
  readonly pictureSize?: number;
}

export interface CaptionedPicture {
  /** A PNG file. */
  readonly png: Uint8Array;
  /** A few characters below the picture, such as its reward. */
  readonly caption: string;
}

const MARGIN = 24;
const GAP = 10;
const HEAD = 66;
const LABEL = 28;
const CAPTION = 24;
/** A sheet of few or small pictures still has room for its title. */
const NARROWEST = 420;

/** Rows of pictures with a caption below each, as one SVG that carries the pictures inside. */
export function contactSheet({ title, subtitle, rows, pictureSize = 128 }: ContactSheet): string {
  if (!(pictureSize > 0 && Number.isFinite(pictureSize))) {
    throw new RangeError(`pictureSize is ${pictureSize}; it must be a number > 0.`);
  }
  const columns = Math.max(0, ...rows.map(({ pictures }) => pictures.length));
  const width = Math.max(NARROWEST, 2 * MARGIN + columns * (pictureSize + GAP) - GAP);
  const rowHeight = LABEL + pictureSize + CAPTION;
  const height = HEAD + rows.length * rowHeight + MARGIN - 8;
  const room = width - 2 * MARGIN;
  const text = (value: string, y: number, fontSize: number, attributes: string) =>
    `<text x="${MARGIN}" y="${y}" font-size="${fontSize}" ${attributes}>${escapeText(clipText(value, room, fontSize))}</text>`;

  const body = rows.flatMap(({ label, pictures }, row) => {
    const top = HEAD + row * rowHeight;
    return [
      text(label, top + 18, 13, `font-weight="bold" fill="${INK.strong}"`),
      ...pictures.map((picture, column) =>
        drawPicture(picture, MARGIN + column * (pictureSize + GAP), top + LABEL, pictureSize),
      ),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${FONT_FAMILY}" fill="${INK.medium}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    // Browsers take `pixelated`; resvg does not know it and keeps to the attribute image-rendering.
    '<style>@supports (image-rendering: pixelated) { .enlarged { image-rendering: pixelated } }</style>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(title, 34, 17, `font-weight="bold" fill="${INK.strong}"`),
    text(subtitle, 55, 12, ''),
    ...body,
    '</svg>',
  ].join('\n');
}

function drawPicture({ png, caption }: CaptionedPicture, x: number, y: number, size: number): string {
  // Enlarged pixels stay squares, so that nothing looks smoother than the model made it; reduced ones are averaged.
  const rendering = largestSide(png) < size ? ' class="enlarged" image-rendering="optimizeSpeed"' : '';
  const data = Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64');
  const below = escapeText(clipText(caption, size, 11));
  return [
    `<image x="${x}" y="${y}" width="${size}" height="${size}"${rendering} href="data:image/png;base64,${data}"/>`,
    `<rect x="${x - 0.5}" y="${y - 0.5}" width="${size + 1}" height="${size + 1}" fill="none" stroke="${INK.faint}"/>`,
    `<text x="${x + size / 2}" y="${y + size + 15}" font-size="11" text-anchor="middle">${below}</text>`,
  ].join('');
}

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

/** The larger of a PNG's width and height, which its first chunk begins with (PNG specification, 11.2.2). */
function largestSide(png: Uint8Array): number {
  if (png.length < 24 || !SIGNATURE.equals(png.subarray(0, 8))) {
    throw new TypeError(`A picture of ${png.length} bytes is not a PNG file; encode it as PNG first.`);
  }
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  return Math.max(view.getUint32(16), view.getUint32(20));
}
