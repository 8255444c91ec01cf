import { BundleError } from '../files.ts';

/**
 * SentencePiece's normalizer (`Precompiled` in tokenizer.json), as Rust's tokenizers applies it
 * (crate spm_precompiled). @huggingface/tokenizers applies NFKC instead, which differs for a few
 * hundred characters.
 *
 * The base64 text holds the size of a trie in 4 bytes, the trie as a double array of 32-bit units
 * (Darts-clone), and the replacements, each ended by a zero byte.
 */
export class Charsmap {
  readonly #units: Uint32Array;
  readonly #replacements: Buffer;
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

  /** @throws BundleError if the map is damaged */
  constructor(base64: string) {
    const bytes = Buffer.from(base64, 'base64');
    const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
    if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length)
      throw new BundleError('tokenizer.json has a precompiled_charsmap that is damaged; copy the file again');
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
    this.#replacements = bytes.subarray(4 + size);
  }

  /** The text with each grapheme, or each of its characters, replaced by its entry in the map. */
  normalize(text: string): string {
    let result = '';
    for (const { segment } of this.#graphemes.segment(text)) {
      // As in spm_precompiled: a letter with its marks is looked up as a whole unless it is long.
      const whole = Buffer.byteLength(segment) < 6 ? this.#find(segment) : null;
      result += whole ?? Array.from(segment, (character) => this.#find(character) ?? character).join('');
    }
    return result;
  }

  /** The replacement of the shortest key at the start of `text`; null if there is no such key. */
  #find(text: string): string | null {
    const units = this.#units;
    let at = offset(units[0]);
    for (const byte of Buffer.from(text)) {
      if (byte === 0) return null;
      at ^= byte;
      const unit = units[at] ?? 0;
      if ((unit & 0x800000ff) !== byte) return null;
      at ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const start = units[at] & 0x7fffffff;
        return this.#replacements.toString('utf8', start, this.#replacements.indexOf(0, start));
      }
    }
    return null;
  }
}

/** Bits 10 to 31 are the offset to the children, in units of 256 if bit 9 is set. */
function offset(unit: number): number {
  return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
}
