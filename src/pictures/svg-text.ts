/** Colors of text and lines in all figures; the darker two are readable in print. */
export const INK = { strong: '#1f2933', medium: '#52606d', faint: '#e4e7eb' } as const;

/**
 * Escapes any text, such as a prompt, for an SVG element or attribute. Characters that are not
 * valid in XML, such as control characters and lone surrogates, become U+FFFD.
 */
export function escapeText(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

const ENTITIES: { readonly [character: string]: string } = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Joins the lines of `text` and cuts it to `width`, with an ellipsis if something was cut. SVG
 * cannot measure text, so the width is estimated, too wide rather than too narrow.
 * @param width in the units of `fontSize`
 */
export function clipText(text: string, width: number, fontSize: number): string {
  const characters = [...GRAPHEMES.segment(text.replace(/\s+/g, ' ').trim())].map(({ segment }) => segment);
  if (measureText(characters, fontSize) <= width) return characters.join('');
  const available = width - measureText(['…'], fontSize);
  let used = 0;
  let count = 0;
  while (count < characters.length && used + measureText([characters[count]], fontSize) <= available) {
    used += measureText([characters[count]], fontSize);
    count++;
  }
  return `${characters.slice(0, count).join('').trimEnd()}…`;
}

/** Splits between graphemes: an emoji may consist of several code points. */
const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * Estimates the width of `text` in DejaVu Sans Bold, the widest font in use; the regular one is a
 * tenth narrower.
 */
export function measureText(text: Iterable<string>, fontSize: number): number {
  let ems = 0;
  for (const character of text) ems += measureCharacter(character);
  return ems * fontSize;
}

/** Estimated width in units of the font size. */
function measureCharacter(character: string): number {
  if (/^[iljI.,:;'!|() ]$/.test(character)) return 0.42;
  if (/^[mwMW@%…]$/.test(character)) return 1.1;
  if (/^[A-Z]$/.test(character)) return 0.82;
  if (/^[ -~]$/.test(character)) return 0.7;
  return 1;
}
