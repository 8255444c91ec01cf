import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { BundleError, exists, type Json, readJson, readOptionalJson, readText } from './files.ts';

/** A text as a model reads it. */
export interface Encoding {
  /** `window` token ids: start, text, end, padding. */
  readonly inputIds: readonly number[];
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: readonly number[];
  /** The end of the text that did not fit, as the tokenizer spells it; null when all of it did. */
  readonly truncated: string | null;
}

export interface Tokenizer {
  /** Tokens that the model reads, with start and end. */
  readonly window: number;
  encode(text: string): Encoding;
}

/** The pattern by which CLIP splits text before byte-pair encoding (openai/CLIP, simple_tokenizer.py). */
const CLIP_PATTERN =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/**
 * The tokenizer in the bundle `folder`, in its root or in `subfolder` (as in `tokenizer/`): `tokenizer.json`, or CLIP's `vocab.json` and `merges.txt`; `tokenizer_config.json` beside it.
 * @throws BundleError when a file is missing or damaged
 */
export async function readTokenizer(folder: string, subfolder = ''): Promise<Tokenizer> {
  const config = (await readOptionalJson(folder, `${subfolder}tokenizer_config.json`)) ?? {};
  const whole = await exists(join(folder, subfolder, 'tokenizer.json'));
  const name = `${subfolder}${whole ? 'tokenizer.json' : 'vocab.json'}`;
  const description = whole ? await readJson(folder, name) : await describeClip(folder, subfolder, config);
  const window =
    typeof config.model_max_length === 'number' && config.model_max_length < 1e6 ? config.model_max_length : 77;
  try {
    const tokenizer = new HuggingFaceTokenizer(description, config);
    const end = tokenId(tokenizer, config.eos_token, '<|endoftext|>', name);
    const pad = tokenId(tokenizer, config.pad_token ?? config.eos_token, '<|endoftext|>', name);
    return { window, encode: (text) => encode(tokenizer, text, window, end, pad) };
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(
      `${name} holds no tokenizer that can be read (${error instanceof Error ? error.message : error})`,
    );
  }
}

function encode(tokenizer: HuggingFaceTokenizer, text: string, window: number, end: number, pad: number): Encoding {
  const { ids } = tokenizer.encode(text);
  const fits = ids.length <= window;
  const kept = fits ? ids : [...ids.slice(0, window - 1), end];
  const padding = new Array<number>(window - kept.length).fill(pad);
  return {
    inputIds: [...kept, ...padding],
    attentionMask: [...kept.map(() => 1), ...padding.map(() => 0)],
    truncated: fits
      ? null
      : tokenizer
          .decode(ids.slice(window - 1, -1))
          .replaceAll('</w>', ' ')
          .trim(),
  };
}

/** What transformers makes of CLIP's two files when it builds the fast tokenizer. */
async function describeClip(folder: string, subfolder: string, config: Json): Promise<Json> {
  const vocab = (await readJson(folder, `${subfolder}vocab.json`)) as { readonly [token: string]: number };
  const lines = (await readText(folder, `${subfolder}merges.txt`)).split('\n').slice(1);
  const merges = lines.filter((line) => line.trim() !== '').map((line) => line.trim().split(' '));
  const start = spelling(config.bos_token, '<|startoftext|>');
  const end = spelling(config.eos_token, '<|endoftext|>');
  for (const token of [start, end]) {
    if (!Number.isInteger(vocab[token]))
      throw new BundleError(
        `${subfolder}vocab.json has no token "${token}", which tokenizer_config.json names; copy both files again`,
      );
  }
  const special = [start, end].map((content) => ({
    id: vocab[content],
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  return {
    version: '1.0',
    added_tokens: special,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        // JavaScript gives a final sigma a letter of its own, which no model was trained with.
        { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' },
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
      unk_token: end,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges,
    },
  };
}

function tokenId(tokenizer: HuggingFaceTokenizer, token: unknown, fallback: string, file: string): number {
  const id = tokenizer.token_to_id(spelling(token, fallback));
  if (id === undefined)
    throw new BundleError(
      `${file} has no token "${spelling(token, fallback)}", which tokenizer_config.json names; copy both files again`,
    );
  return id;
}

/** Tokens are given as text, or as an object with their text. */
function spelling(token: unknown, fallback: string): string {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : fallback;
}
