import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { describeBert } from './bert-vocabulary.ts';
import { describeClip } from './clip-vocabulary.ts';
import { BundleError, exists, type Json, readJson, readOptionalJson } from './files.ts';
import { takePrecompiled } from './precompiled-normalizer.ts';
import { spelling } from './token-spelling.ts';

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
  /** One more than the largest token id: embeddings that a text encoder has to have. */
  readonly vocabularySize: number;
  encode(text: string): Encoding;
}

/** Windows of tokenizers whose config does not say: transformers writes 1e30 for "no end". */
const LONGEST = 1e6;
const CLIP_WINDOW = 77;

/**
 * The tokenizer in the bundle `folder`, in its root or in `subfolder` (as in `tokenizer/`): `tokenizer.json` (CLIP, BERT, T5 and any other that
 * @huggingface/tokenizers reads), CLIP's `vocab.json` and `merges.txt`, or BERT's `vocab.txt`; `tokenizer_config.json` and
 * `special_tokens_map.json` beside it.
 * @param window tokens of every text; left out: what the config says
 * @throws BundleError when a file is missing or damaged
 */
export async function readTokenizer(folder: string, subfolder = '', window?: number): Promise<Tokenizer> {
  const map = (await readOptionalJson(folder, `${subfolder}special_tokens_map.json`)) ?? {};
  const config = { ...map, ...((await readOptionalJson(folder, `${subfolder}tokenizer_config.json`)) ?? {}) };
  const { name, description } = await readDescription(folder, subfolder, config);
  const given = Number((config as Json).model_max_length);
  try {
    const { description: plain, normalize } = takePrecompiled(description);
    const tokenizer = new HuggingFaceTokenizer(plain, config);
    // What stands around every text; the last of it ends a text that is cut.
    const around = tokenizer.encode('').ids;
    const end = around.at(-1) ?? tokenId(tokenizer, (config as Json).eos_token, '<|endoftext|>', name);
    return {
      window: window ?? (given < LONGEST ? given : CLIP_WINDOW),
      vocabularySize: vocabularySize(description),
      encode: encoder(tokenizer, {
        window: window ?? (given < LONGEST ? given : CLIP_WINDOW),
        end,
        pad: padId(tokenizer, config, description, name) ?? end,
        normalize,
        lowers: /"Lowercase"|"lowercase":true/.test(JSON.stringify(plain.normalizer ?? null)),
      }),
    };
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(
      `${name} holds no tokenizer that can be read (${error instanceof Error ? error.message : error})`,
    );
  }
}

async function readDescription(
  folder: string,
  subfolder: string,
  config: Json,
): Promise<{ readonly name: string; readonly description: Json }> {
  const has = (name: string) => exists(join(folder, subfolder, name));
  if (await has('tokenizer.json'))
    return {
      name: `${subfolder}tokenizer.json`,
      description: await readJson(folder, `${subfolder}tokenizer.json`),
    };
  if ((await has('vocab.txt')) && !(await has('vocab.json')))
    return { name: `${subfolder}vocab.txt`, description: await describeBert(folder, subfolder, config) };
  if ((await has('spiece.model')) && !(await has('vocab.json')))
    throw new BundleError(
      `${subfolder} has only spiece.model; write tokenizer.json beside it with transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`,
    );
  return { name: `${subfolder}vocab.json`, description: await describeClip(folder, subfolder, config) };
}

function encoder(
  tokenizer: HuggingFaceTokenizer,
  {
    window,
    end,
    pad,
    normalize,
    lowers,
  }: {
    readonly window: number;
    readonly end: number;
    readonly pad: number;
    readonly normalize: (text: string) => string;
    /** Whether letters become small. */
    readonly lowers: boolean;
  },
): Tokenizer['encode'] {
  return (text) => {
    // JavaScript gives a final sigma a letter of its own when it lowers a text, which no model was trained with.
    const { ids } = tokenizer.encode(normalize(lowers ? text.replaceAll('Σ', 'σ') : text));
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
  };
}

/** The id that fills a text up: as configs say, else by the names that BERT's and T5's classes give it. undefined: it has none of its own. */
function padId(tokenizer: HuggingFaceTokenizer, config: Json, description: Json, file: string): number | undefined {
  const padding = description.padding as { readonly pad_token?: unknown } | null | undefined;
  const named = config.pad_token ?? padding?.pad_token;
  if (named) return tokenId(tokenizer, named, '', file);
  return tokenizer.token_to_id('[PAD]') ?? tokenizer.token_to_id('<pad>');
}

/** One more than the largest id. */
function vocabularySize(description: Json): number {
  const { vocab } = description.model as { readonly vocab: object };
  const added = (description.added_tokens ?? []) as readonly { readonly id: number }[];
  const largest = Array.isArray(vocab)
    ? vocab.length - 1
    : (Object.values(vocab) as number[]).reduce((most, id) => Math.max(most, id), -1);
  return added.reduce((most, { id }) => Math.max(most, id), largest) + 1;
}

function tokenId(tokenizer: HuggingFaceTokenizer, token: unknown, fallback: string, file: string): number {
  const id = tokenizer.token_to_id(spelling(token, fallback));
  if (id === undefined)
    throw new BundleError(
      `${file} has no token "${spelling(token, fallback)}", which tokenizer_config.json names; copy both files again`,
    );
  return id;
}
