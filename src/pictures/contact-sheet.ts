import { FONT_FAMILY } from './svg-renderer.ts';
import { clipText, escapeText, INK } from './svg-text.ts';

/** Content of a contact sheet. Texts that are too long are cut. */
export interface ContactSheet {
  /** Usually the prompt. */
  readonly title: string;
  readonly subtitle: string;
  /**
   * One row per distribution, such as base and learned; readers compare pictures in the same
   * column.
   */
  readonly rows: readonly { readonly label: string; readonly pictures: readonly CaptionedPicture[] }[];
  /** Side in pixels of the square for each picture; 128 by default. */
  readonly pictureSize?: number;
}

/** A picture of a contact sheet. */
export interface CaptionedPicture {
  /** A PNG file. */
  readonly png: Uint8Array;
  /** A short text below the picture, such as its reward. */
  readonly caption: string;
}

const MARGIN = 24;
const GAP = 10;
/** Height of title and subtitle. */
const HEADER_HEIGHT = 66;
const LABEL_HEIGHT = 28;
const CAPTION_HEIGHT = 24;
/** Leaves space for the title above few or small pictures. */
const MIN_WIDTH = 420;

/**
 * Draws rows of pictures, with a caption below each, as an SVG that contains the pictures.
 * @throws RangeError if `pictureSize` is not positive; TypeError if a picture is not a PNG file
 */
export function contactSheet({ title, subtitle, rows, pictureSize = 128 }: ContactSheet): string {
  if (!(pictureSize > 0 && Number.isFinite(pictureSize))) {
    throw new RangeError(`pictureSize is ${pictureSize}; it must be a number > 0.`);
  }
  const columns = Math.max(0, ...rows.map(({ pictures }) => pictures.length));
  const width = Math.max(MIN_WIDTH, 2 * MARGIN + columns * (pictureSize + GAP) - GAP);
  const rowHeight = LABEL_HEIGHT + pictureSize + CAPTION_HEIGHT;
  const height = HEADER_HEIGHT + rows.length * rowHeight + MARGIN - 8;
  const textWidth = width - 2 * MARGIN;
  const text = (value: string, y: number, fontSize: number, attributes: string) =>
    `<text x="${MARGIN}" y="${y}" font-size="${fontSize}" ${attributes}>` +
    `${escapeText(clipText(value, textWidth, fontSize))}</text>`;

  const body = rows.flatMap(({ label, pictures }, row) => {
    const top = HEADER_HEIGHT + row * rowHeight;
    return [
      text(label, top + 18, 13, `font-weight="bold" fill="${INK.strong}"`),
      ...pictures.map((picture, column) =>
        drawPicture(picture, MARGIN + column * (pictureSize + GAP), top + LABEL_HEIGHT, pictureSize),
      ),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}" font-family="${FONT_FAMILY}" fill="${INK.medium}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    // Browsers support `pixelated`. resvg does not, and uses the attribute `image-rendering`
    // instead.
    '<style>@supports (image-rendering: pixelated) { .enlarged { image-rendering: pixelated } }</style>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(title, 34, 17, `font-weight="bold" fill="${INK.strong}"`),
    text(subtitle, 55, 12, ''),
    ...body,
    '</svg>',
  ].join('\n');
}

function drawPicture({ png, caption }: CaptionedPicture, x: number, y: number, size: number): string {
  // Enlarged pixels stay squares, so that a picture does not look smoother than it is.
  const rendering = largestSide(png) < size ? ' class="enlarged" image-rendering="optimizeSpeed"' : '';
  const data = Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64');
  const below = escapeText(clipText(caption, size, 11));
  return [
    `<image x="${x}" y="${y}" width="${size}" height="${size}"${rendering} ` +
      `href="data:image/png;base64,${data}"/>`,
    `<rect x="${x - 0.5}" y="${y - 0.5}" width="${size + 1}" height="${size + 1}" ` +
      `fill="none" stroke="${INK.faint}"/>`,
    `<text x="${x + size / 2}" y="${y + size + 15}" font-size="11" text-anchor="middle">${below}</text>`,
  ].join('');
}

const PNG_SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

/** The larger of a PNG's width and height, from the start of its first chunk (PNG, 11.2.2 IHDR). */
function largestSide(png: Uint8Array): number {
  if (png.length < 24 || !PNG_SIGNATURE.equals(png.subarray(0, 8))) {
    throw new TypeError(`A picture of ${png.length} bytes is not a PNG file; encode it as PNG first.`);
  }
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  return Math.max(view.getUint32(16), view.getUint32(20));
}
