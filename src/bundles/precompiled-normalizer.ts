import { BundleError, type Json } from './files.ts';

/**
 * SentencePiece's own normalisation, as `tokenizer.json` of T5 carries it: a table from the bytes of characters to their replacements ("precompiled
 * charsmap": a double-array trie, then texts that end with 0; Kudo and Richardson 2018, arXiv 1808.06226, section 3.3). The table is followed to the letter, since
 * Unicode's NFKC and its exceptions differ from it in joiners and control characters.
 */

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
const encoder = new TextEncoder();
/** Longer graphemes, in bytes, are looked up character by character, as Hugging Face's tokenizers do. */
const LONGEST_GRAPHEME = 5;

/** The description without the table, and what does its work; texts have to go through it first. */
export function takePrecompiled(description: Json): {
  readonly description: Json;
  readonly normalize: (text: string) => string;
} {
  const normalizer = description.normalizer as Json | null | undefined;
  const parts = (normalizer?.type === 'Sequence' ? normalizer.normalizers : [normalizer]) as (Json | null)[];
  const [first, ...rest] = parts;
  if (first?.type !== 'Precompiled') return { description, normalize: (text) => text };
  const table = readTable(String(first.precompiled_charsmap));
  return {
    description: { ...description, normalizer: rest.length > 0 ? { type: 'Sequence', normalizers: rest } : null },
    // Next line (U+0085) separates words for everybody but JavaScript.
    normalize: (text) => normalizeWith(table, text).replaceAll('\u0085', ' '),
  };
}

interface Table {
  /** Units of the double array. */
  readonly units: Uint32Array;
  /** Replacements, each ended by 0. */
  readonly texts: Buffer;
}

function readTable(base64: string): Table {
  const bytes = Buffer.from(base64, 'base64');
  const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
  if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length)
    throw new BundleError('tokenizer.json has a precompiled_charsmap that is damaged; copy the file again');
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + i * 4));
  return { units, texts: bytes.subarray(4 + size) };
}

function normalizeWith(table: Table, text: string): string {
  let normalized = '';
  for (const { segment } of segmenter.segment(text)) {
    const bytes = encoder.encode(segment);
    const whole = bytes.length <= LONGEST_GRAPHEME ? lookUp(table, bytes) : null;
    if (whole !== null) normalized += whole;
    else for (const character of segment) normalized += lookUp(table, encoder.encode(character)) ?? character;
  }
  return normalized;
}

/** The replacement of the shortest beginning of `key` that the table has; null: none. (Darts' common prefix search.) */
function lookUp({ units, texts }: Table, key: Uint8Array): string | null {
  let node = offsetOf(units[0]);
  for (const byte of key) {
    if (byte === 0) return null;
    node ^= byte;
    const unit = units[node] ?? 0;
    if ((unit & 0x800000ff) >>> 0 !== byte) return null; // its label
    node ^= offsetOf(unit);
    if ((unit >>> 8) & 1) {
      const value = (units[node] & 0x7fffffff) >>> 0;
      return texts.toString('utf8', value, texts.indexOf(0, value));
    }
  }
  return null;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
}
