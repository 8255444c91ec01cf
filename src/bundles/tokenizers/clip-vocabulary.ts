import { BundleError, type Json, readJson, readText } from '../files.ts';
import { textOf } from './special-tokens.ts';

/**
 * CLIP's pattern for splitting text before byte-pair encoding (openai/CLIP, simple_tokenizer.py).
 */
const CLIP_PATTERN =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/** CLIP's special tokens, for configs that leave them out. */
export const CLIP_TOKENS = {
  bos_token: '<|startoftext|>',
  eos_token: '<|endoftext|>',
  unk_token: '<|endoftext|>',
  pad_token: '<|endoftext|>',
};

/**
 * Describes CLIP's `vocab.json` and `merges.txt` in the format of `tokenizer.json`, as transformers
 * converts them. Added tokens are left out.
 * @throws BundleError if a file is missing or damaged, or lacks a special token
 */
export async function describeClip(folder: string, subfolder: string, config: Json): Promise<Json> {
  const vocab = (await readJson(folder, `${subfolder}vocab.json`)) as { readonly [token: string]: number };
  const lines = (await readText(folder, `${subfolder}merges.txt`)).split('\n').slice(1);
  const merges = lines.filter((line) => line.trim() !== '').map((line) => line.trim().split(' '));
  const start = textOf(config.bos_token, CLIP_TOKENS.bos_token);
  const end = textOf(config.eos_token, CLIP_TOKENS.eos_token);
  for (const token of [start, end]) {
    if (!Number.isInteger(vocab[token]))
      throw new BundleError(
        `${subfolder}vocab.json has no token "${token}", which tokenizer_config.json names; ` +
          'copy both files again',
      );
  }
  return {
    version: '1.0',
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: CLIP_PATTERN }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [end, vocab[end]],
      cls: [start, vocab[start]],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: textOf(config.unk_token, CLIP_TOKENS.unk_token),
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges,
    },
  };
}
