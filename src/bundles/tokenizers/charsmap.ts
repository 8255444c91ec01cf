import { BundleError } from '../files.ts';

/**
 * SentencePiece's normaliser (`Precompiled` in tokenizer.json) as Rust's tokenizers applies it (the crate spm_precompiled). The one of
 * @huggingface/tokenizers takes NFKC instead of the map in the file, which is another thing for a few hundred characters.
 *
 * The map is 4 bytes with the size of a trie, the trie as a double array of 32-bit units (Darts-clone), then the replacements,
 * each ended by a zero byte; all of it base64.
 */
export class Charsmap {
  readonly #units: Uint32Array;
  readonly #replacements: Buffer;
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

  constructor(base64: string) {
    const bytes = Buffer.from(base64, 'base64');
    const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
    if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length)
      throw new BundleError('tokenizer.json has a precompiled_charsmap that is damaged; copy the file again');
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
    this.#replacements = bytes.subarray(4 + size);
  }

  normalize(text: string): string {
    let result = '';
    for (const { segment } of this.#graphemes.segment(text)) {
      // As in the original: what one letter and its marks become together, unless they are long.
      const whole = Buffer.byteLength(segment) < 6 ? this.#find(segment) : null;
      result += whole ?? Array.from(segment, (character) => this.#find(character) ?? character).join('');
    }
    return result;
  }

  /** What the shortest key at the start of `text` becomes; null when no key is there. */
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

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & (1 << 9)) >>> 6);
}
