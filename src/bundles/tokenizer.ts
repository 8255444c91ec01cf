import { join } from 'node:path';
import type { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { BundleError, exists, type Json, readJson, readOptionalJson } from './files.ts';
import { BERT_TOKENS, describeBert } from './tokenizers/bert-vocabulary.ts';
import { CLIP_TOKENS, describeClip } from './tokenizers/clip-vocabulary.ts';
import { openTokenizer } from './tokenizers/follow-transformers.ts';
import { type AddedToken, addedTokens, spelling } from './tokenizers/special-tokens.ts';

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

interface Kind {
  /** Names of its classes in transformers. */
  readonly classes: RegExp;
  /** Special tokens that a config need not name. */
  readonly tokens: Json;
  /** Window where the config does not say. */
  readonly window: number;
}

const CLIP: Kind = { classes: /^CLIPTokenizer/, tokens: CLIP_TOKENS, window: 77 };
const BERT: Kind = { classes: /^BertTokenizer/, tokens: BERT_TOKENS, window: 512 };
const T5: Kind = {
  classes: /^T5Tokenizer/,
  tokens: { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  window: 512,
};
const OTHER: Kind = { classes: /(?:)/, tokens: {}, window: 77 };

/** Windows of tokenizers whose config does not say: transformers writes 1e30 for "no end". */
const LONGEST = 1e6;

/**
 * The tokenizer in the bundle `folder`, in its root or in `subfolder` (as in `tokenizer/`): `tokenizer.json` (CLIP, BERT, T5 and any
 * other that @huggingface/tokenizers reads), CLIP's `vocab.json` and `merges.txt`, or BERT's `vocab.txt`; beside it
 * `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`. Texts have the ids that transformers 5 gives them; nothing
 * in a text but added tokens has a meaning of its own, `(weighted:1.2)` neither.
 * @param window tokens of every text; left out: `model_max_length` of the config, for BERT `max_length` before it
 * @throws BundleError when a file is missing or damaged
 */
export async function readTokenizer(folder: string, subfolder = '', window?: number): Promise<Tokenizer> {
  const optional = async (name: string) => (await readOptionalJson(folder, `${subfolder}${name}`)) ?? {};
  const given = await optional('tokenizer_config.json');
  const [map, added] = [await optional('special_tokens_map.json'), await optional('added_tokens.json')];
  // As transformers reads them: the map is of old versions, which did not write the decoder; there it has the last word.
  const written: Json = given.added_tokens_decoder ? given : { ...given, ...map };
  const { name, kind, description } = await readDescription(folder, subfolder, written);
  const config: Json = { ...kind.tokens, ...withoutNulls(written) };
  try {
    const vocabulary = vocabularyOf(description);
    const tokens = addedTokens(vocabulary, {
      config: kind === T5 ? withSentinels(config) : config,
      added,
      described: (description.added_tokens ?? []) as readonly AddedToken[],
    });
    const tokenizer = openTokenizer({ ...description, added_tokens: tokens }, config);
    const length = window ?? windowOf(kind, config);
    const pad = spelling(config.pad_token ?? (description.padding as Json | null | undefined)?.pad_token, '');
    // What stands around every text; the last of it ends a text that is cut.
    const end = tokenizer.encode('').ids.at(-1) ?? tokenizer.token_to_id(spelling(config.eos_token, ''));
    const padding = pad === '' ? end : tokenizer.token_to_id(pad);
    if (end === undefined || padding === undefined)
      throw new BundleError(
        `${name} and ${subfolder}tokenizer_config.json have no token that ends or fills up a text`,
      );
    return {
      window: length,
      vocabularySize:
        Math.max(
          ...tokens.map(({ id }) => id),
          [...vocabulary.values()].reduce((a, b) => Math.max(a, b), -1),
        ) + 1,
      encode: encoder(tokenizer, { window: length, end, padding }),
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
): Promise<{ readonly name: string; readonly kind: Kind; readonly description: Json }> {
  const has = (name: string) => exists(join(folder, subfolder, name));
  if (await has('tokenizer.json')) {
    const name = `${subfolder}tokenizer.json`;
    const named = String(config.tokenizer_class ?? '');
    const kind = [CLIP, BERT, T5].find(({ classes }) => classes.test(named)) ?? OTHER;
    return { name, kind, description: await readJson(folder, name) };
  }
  if ((await has('vocab.txt')) && !(await has('vocab.json')))
    return {
      name: `${subfolder}vocab.txt`,
      kind: BERT,
      description: await describeBert(folder, subfolder, config),
    };
  if ((await has('spiece.model')) && !(await has('vocab.json')))
    throw new BundleError(
      `${subfolder || 'the folder'} has only spiece.model; write tokenizer.json beside it with transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`,
    );
  return {
    name: `${subfolder}vocab.json`,
    kind: CLIP,
    description: await describeClip(folder, subfolder, config),
  };
}

function encoder(
  tokenizer: HuggingFaceTokenizer,
  { window, end, padding }: { readonly window: number; readonly end: number; readonly padding: number },
): Tokenizer['encode'] {
  return (text) => {
    const { ids } = tokenizer.encode(text);
    const fits = ids.length <= window;
    const kept = fits ? ids : [...ids.slice(0, window - 1), end];
    const fill = new Array<number>(window - kept.length);
    return {
      inputIds: [...kept, ...fill.fill(padding)],
      attentionMask: [...kept.map(() => 1), ...fill.fill(0)],
      truncated: fits
        ? null
        : tokenizer
            .decode(ids.slice(window - 1, -1))
            .replaceAll('</w>', ' ')
            .trim(),
    };
  };
}

function windowOf(kind: Kind, config: Json): number {
  const said = [kind === BERT ? config.max_length : null, config.model_max_length];
  return said.find((value): value is number => typeof value === 'number' && value < LONGEST) ?? kind.window;
}

/** Token to id. A list of tokens with scores (Unigram) has its ids by place. */
function vocabularyOf(description: Json): Map<string, number> {
  const { vocab } = description.model as {
    readonly vocab: { readonly [token: string]: number } | [string, number][];
  };
  return new Map(Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab));
}

/** T5's class adds the tokens of its training task, named or not. */
function withSentinels(config: Json): Json {
  const count = typeof config.extra_ids === 'number' ? config.extra_ids : 100;
  const named = Array.isArray(config.additional_special_tokens) ? config.additional_special_tokens : [];
  const sentinels = Array.from({ length: count }, (_, i) => `<extra_id_${i}>`);
  return { ...config, additional_special_tokens: [...named, ...sentinels] };
}

/** Configs write null for tokens that there are none of, and for those that keep their defaults. */
function withoutNulls(config: Json): Json {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}
