import { join } from 'node:path';
import type { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { BundleError, exists, type Json, readJson, readOptionalJson } from './files.ts';
import { BERT_TOKENS, describeBert } from './tokenizers/bert-vocabulary.ts';
import { CLIP_TOKENS, describeClip } from './tokenizers/clip-vocabulary.ts';
import { openTokenizer } from './tokenizers/follow-transformers.ts';
import { type AddedToken, addedTokens, textOf } from './tokenizers/special-tokens.ts';

/** A text as token ids. */
export interface Encoding {
  /** Token ids, `window` of them: start, text, end, padding. */
  readonly inputIds: readonly number[];
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: readonly number[];
  /** The end of the text that did not fit, as the tokenizer decodes it; null if all of it fits. */
  readonly truncated: string | null;
}

/** Encodes texts for one model. */
export interface Tokenizer {
  /** Length of every encoding, with start and end. */
  readonly window: number;
  /** One more than the largest token id: the embeddings that a text encoder needs. */
  readonly vocabularySize: number;
  encode(text: string): Encoding;
}

/** A kind of tokenizer, with the defaults of its class in transformers. */
interface Kind {
  /** Names of its classes in transformers. */
  readonly classes: RegExp;
  /** Special tokens that the config may leave out. */
  readonly tokens: Json;
  /** Window if the config gives none. */
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

/** Larger windows in a config mean "unlimited", for which transformers writes 1e30. */
const MAX_WINDOW = 1e6;

/**
 * Reads the tokenizer of the bundle `folder`. Its vocabulary is one of:
 * - `tokenizer.json`: CLIP, BERT, T5 and all others that @huggingface/tokenizers supports
 * - `vocab.json` and `merges.txt`: CLIP
 * - `vocab.txt`: BERT
 *
 * `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` beside it are
 * optional. Token ids are those of transformers 5. Only added tokens are special in a text; weights
 * such as `(word:1.2)` are not interpreted.
 * @param subfolder '' or a folder that ends with a slash, such as `tokenizer/`
 * @param window length of every encoding; by default the config's `model_max_length`, for BERT its
 *   `max_length` first
 * @throws BundleError if a file is missing or damaged
 */
export async function readTokenizer(folder: string, subfolder = '', window?: number): Promise<Tokenizer> {
  const optional = async (name: string) => (await readOptionalJson(folder, `${subfolder}${name}`)) ?? {};
  const given = await optional('tokenizer_config.json');
  const [map, added] = [await optional('special_tokens_map.json'), await optional('added_tokens.json')];
  // Old versions of transformers write the map and no decoder; there the map takes precedence.
  const merged: Json = given.added_tokens_decoder ? given : { ...given, ...map };
  const { name, kind, description } = await readDescription(folder, subfolder, merged);
  const config: Json = { ...kind.tokens, ...withoutNulls(merged) };
  try {
    const vocabulary = vocabularyOf(description);
    const tokens = addedTokens(vocabulary, {
      config: kind === T5 ? withSentinels(config) : config,
      added,
      described: (description.added_tokens ?? []) as readonly AddedToken[],
    });
    const tokenizer = openTokenizer({ ...description, added_tokens: tokens }, config);
    const length = window ?? windowOf(kind, config);
    const pad = textOf(config.pad_token ?? (description.padding as Json | null | undefined)?.pad_token, '');
    // An empty text is encoded as start and end; the last token ends a truncated text, too.
    const end = tokenizer.encode('').ids.at(-1) ?? tokenizer.token_to_id(textOf(config.eos_token, ''));
    const padding = pad === '' ? end : tokenizer.token_to_id(pad);
    if (end === undefined || padding === undefined)
      throw new BundleError(
        `${name} and ${subfolder}tokenizer_config.json name no end token or padding token`,
      );
    return {
      window: length,
      vocabularySize:
        Math.max(
          ...tokens.map(({ id }) => id),
          [...vocabulary.values()].reduce((a, b) => Math.max(a, b), -1),
        ) + 1,
      encode: createEncoder(tokenizer, { window: length, end, padding }),
    };
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(
      `${name} holds no tokenizer that can be read (${error instanceof Error ? error.message : error})`,
    );
  }
}

/** The tokenizer's description in the format of `tokenizer.json`, and the file it comes from. */
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
      `${subfolder || 'the folder'} has only spiece.model; write tokenizer.json beside it with ` +
        "transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
    );
  return {
    name: `${subfolder}vocab.json`,
    kind: CLIP,
    description: await describeClip(folder, subfolder, config),
  };
}

function createEncoder(
  tokenizer: HuggingFaceTokenizer,
  { window, end, padding }: { readonly window: number; readonly end: number; readonly padding: number },
): Tokenizer['encode'] {
  return (text) => {
    const { ids } = tokenizer.encode(text);
    const fits = ids.length <= window;
    const tokens = fits ? ids : [...ids.slice(0, window - 1), end];
    const fill = new Array<number>(window - tokens.length);
    return {
      inputIds: [...tokens, ...fill.fill(padding)],
      attentionMask: [...tokens.map(() => 1), ...fill.fill(0)],
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
  const configured = [kind === BERT ? config.max_length : null, config.model_max_length];
  return (
    configured.find((value): value is number => typeof value === 'number' && value < MAX_WINDOW) ??
    kind.window
  );
}

/** Token to id. In Unigram's list of [token, score], the position is the id. */
function vocabularyOf(description: Json): Map<string, number> {
  const { vocab } = description.model as {
    readonly vocab: { readonly [token: string]: number } | [string, number][];
  };
  return new Map(Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab));
}

/** T5's class always adds the sentinel tokens of its training task. */
function withSentinels(config: Json): Json {
  const count = typeof config.extra_ids === 'number' ? config.extra_ids : 100;
  const named = Array.isArray(config.additional_special_tokens) ? config.additional_special_tokens : [];
  const sentinels = Array.from({ length: count }, (_, i) => `<extra_id_${i}>`);
  return { ...config, additional_special_tokens: [...named, ...sentinels] };
}

/** In configs, null means that a token does not exist or keeps its default. */
function withoutNulls(config: Json): Json {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}
