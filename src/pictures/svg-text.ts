/** Ink of all figures: dark enough to read in print, in three steps. */
export const INK = { strong: '#1f2933', medium: '#52606d', faint: '#e4e7eb' } as const;

/**
 * `text` as it may stand in an SVG element or attribute. Characters that XML has no way to write, such as control
 * characters and lone surrogates, become U+FFFD; a prompt can hold anything.
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
 * Cuts `text` to what fits in `width`, with an ellipsis where something is left out. Lines are joined. SVG can't measure,
 * so this estimates the width of each character, rather too wide than too narrow.
 *
 * @param width in the units of `fontSize`
 */
export function clipText(text: string, width: number, fontSize: number): string {
  const characters = [...GRAPHEMES.segment(text.replace(/\s+/g, ' ').trim())].map(({ segment }) => segment);
  if (measureText(characters, fontSize) <= width) return characters.join('');
  const room = width - measureText(['…'], fontSize);
  let used = 0;
  let count = 0;
  while (count < characters.length && used + measureText([characters[count]], fontSize) <= room) {
    used += measureText([characters[count]], fontSize);
    count++;
  }
  return `${characters.slice(0, count).join('').trimEnd()}…`;
}

/** Emoji of several code points must not be cut in two. */
const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** About how wide `text` is in DejaVu Sans Bold, the widest face in use; the regular one takes a tenth less. */
export function measureText(text: Iterable<string>, fontSize: number): number {
  let ems = 0;
  for (const character of text) ems += measureCharacter(character);
  return ems * fontSize;
}

function measureCharacter(character: string): number {
  if (/^[iljI.,:;'!|() ]$/.test(character)) return 0.42;
  if (/^[mwMW@%…]$/.test(character)) return 1.1;
  if (/^[A-Z]$/.test(character)) return 0.82;
  if (/^[ -~]$/.test(character)) return 0.7;
  return 1;
}
