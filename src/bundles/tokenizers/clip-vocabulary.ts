import { BundleError, type Json, readJson, readText } from '../files.ts';
import { spelling } from './special-tokens.ts';

/** The pattern by which CLIP splits text before byte-pair encoding (openai/CLIP, simple_tokenizer.py). */
const CLIP_PATTERN =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/** Special tokens that a config need not name. */
export const CLIP_TOKENS = {
  bos_token: '<|startoftext|>',
  eos_token: '<|endoftext|>',
  unk_token: '<|endoftext|>',
  pad_token: '<|endoftext|>',
};

/** What transformers makes of CLIP's two files, but for the added tokens. */
export async function describeClip(folder: string, subfolder: string, config: Json): Promise<Json> {
  const vocab = (await readJson(folder, `${subfolder}vocab.json`)) as { readonly [token: string]: number };
  const lines = (await readText(folder, `${subfolder}merges.txt`)).split('\n').slice(1);
  const merges = lines.filter((line) => line.trim() !== '').map((line) => line.trim().split(' '));
  const start = spelling(config.bos_token, CLIP_TOKENS.bos_token);
  const end = spelling(config.eos_token, CLIP_TOKENS.eos_token);
  for (const token of [start, end]) {
    if (!Number.isInteger(vocab[token]))
      throw new BundleError(
        `${subfolder}vocab.json has no token "${token}", which tokenizer_config.json names; copy both files again`,
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
      unk_token: spelling(config.unk_token, CLIP_TOKENS.unk_token),
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges,
    },
  };
}
