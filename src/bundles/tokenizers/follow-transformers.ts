import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import type { Json } from '../files.ts';
import { Charsmap } from './charsmap.ts';

/** GPT-2's pattern for words, with the white space of Unicode. */
const BYTE_LEVEL_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/**
 * Ideographs beyond U+FFFF that BERT splits into single characters, as listed in Rust's tokenizers.
 */
const RARE_IDEOGRAPHS =
  '[\\u{20000}-\\u{2A6DF}\\u{2A700}-\\u{2B73F}\\u{2B740}-\\u{2B81F}' +
  '\\u{2B920}-\\u{2CEAF}\\u{2F800}-\\u{2FA1F}]';

/** A pre-tokenizer that keeps the matches of a pattern and drops the rest. */
const keep = (regex: string) => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Removed',
  invert: true,
});

/**
 * Creates a tokenizer that gives the ids of transformers 5.
 *
 * Some steps of @huggingface/tokenizers differ from Rust's tokenizers. This function changes the
 * description of these steps so that the results are equal:
 * - Lowercase, BertNormalizer: JavaScript lowercases a sigma at the end of a word to another
 *   letter.
 * - BertNormalizer: ideographs beyond U+FFFF are not split.
 * - ByteLevel: its pattern counts U+FEFF as white space.
 * - Metaspace: words are not split, which rounds the scores of equal segmentations differently.
 * - Precompiled: NFKC is used instead of the map (charsmap.ts).
 *
 * T5's tokenizers get the steps of their class in transformers, which reads only the vocabulary and
 * the map from the file.
 */
export function openTokenizer(description: Json, config: Json): HuggingFaceTokenizer {
  const isT5 = /^T5Tokenizer/.test(String(config.tokenizer_class));
  const { normalizer, pre_tokenizer } = isT5 ? t5Steps(description) : description;
  const steps = {
    normalizer: { type: 'Sequence', normalizers: normalizer ? [normalizerOf(normalizer)] : [] },
    pre_tokenizer: preTokenizerOf(pre_tokenizer),
  };
  const tokenizer = new HuggingFaceTokenizer({ ...description, ...steps }, config);
  useCharsmaps(tokenizer.normalizer as Normalizer);
  return tokenizer;
}

function t5Steps(description: Json): Json {
  const normalizer = description.normalizer as Json | null;
  const steps = (normalizer?.type === 'Sequence' ? normalizer.normalizers : [normalizer]) as (Json | null)[];
  return {
    normalizer: steps.find((step) => step?.type === 'Precompiled') ?? null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [keep('\\S+'), { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' }],
    },
  };
}

function normalizerOf(step: unknown): unknown {
  const normalizer = step as Json | null;
  const sigma = { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' };
  const sequence = (...normalizers: unknown[]) => ({ type: 'Sequence', normalizers });
  switch (normalizer?.type) {
    case 'Sequence':
      return sequence(...(normalizer.normalizers as unknown[]).map(normalizerOf));
    case 'Lowercase':
      return sequence(sigma, normalizer);
    case 'BertNormalizer':
      return sequence(
        ...(normalizer.lowercase ? [sigma] : []),
        ...(normalizer.handle_chinese_chars
          ? [{ type: 'Replace', pattern: { Regex: RARE_IDEOGRAPHS }, content: ' $& ' }]
          : []),
        normalizer,
      );
    default:
      return normalizer;
  }
}

function preTokenizerOf(step: unknown): unknown {
  const preTokenizer = step as Json | null;
  const sequence = (...pretokenizers: unknown[]) => ({ type: 'Sequence', pretokenizers });
  switch (preTokenizer?.type) {
    case 'Sequence':
      return sequence(...(preTokenizer.pretokenizers as unknown[]).map(preTokenizerOf));
    case 'ByteLevel':
      return preTokenizer.use_regex === false || preTokenizer.add_prefix_space
        ? preTokenizer
        : sequence(keep(BYTE_LEVEL_PATTERN), { ...preTokenizer, use_regex: false });
    case 'Metaspace': {
      const space = String(preTokenizer.replacement ?? '▁');
      return preTokenizer.split === false
        ? preTokenizer
        : sequence(preTokenizer, keep(`${space}[^${space}]*|[^${space}]+`));
    }
    default:
      return preTokenizer;
  }
}

/** A normalizer as @huggingface/tokenizers builds it. */
interface Normalizer {
  readonly config?: Json;
  normalizers?: Normalizer[];
  normalize(text: string): string;
}

/** Replaces every `Precompiled` step by one that uses the map of the file. */
function useCharsmaps(normalizer: Normalizer): Normalizer {
  if (normalizer.config?.type === 'Precompiled')
    return new Charsmap(String(normalizer.config.precompiled_charsmap));
  if (normalizer.normalizers) normalizer.normalizers = normalizer.normalizers.map(useCharsmaps);
  return normalizer;
}
