import type { Json } from '../files.ts';

/** A token that is found in the text before normalization and splitting. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Whether it is found after normalization instead, so in lower case too. */
  readonly normalized: boolean;
}

/** Keys of special tokens in configs, in the order in which transformers adds the tokens. */
const TOKEN_KEYS = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

/**
 * The added tokens of a tokenizer, as transformers 5 derives them from its files: the tokens of
 * `tokenizer.json`, `added_tokens_decoder` or `added_tokens.json`, then every token that the config
 * names. If a token is named several times, its last name decides its flags. A token that the
 * vocabulary lacks gets the next id.
 *
 * One consequence: if "!" is the padding (Stable Diffusion 2, the second tokenizer of XL), it is an
 * added token, and "!" in a prompt has the id of the padding.
 * @param vocabulary token to id
 * @param files `config`: tokenizer_config.json merged with special_tokens_map.json; `added`:
 *   added_tokens.json; `described`: the added tokens of tokenizer.json
 * @returns the tokens by ascending id
 */
export function addedTokens(
  vocabulary: ReadonlyMap<string, number>,
  files: { readonly config: Json; readonly added: Json; readonly described: readonly AddedToken[] },
): AddedToken[] {
  const { config } = files;
  const tokens = new Map<string, AddedToken>();
  let next = maximum(vocabulary.values()) + 1;
  const add = (token: unknown, id?: number, flags: Partial<AddedToken> = {}) => {
    const content = textOf(token, '');
    if (content === '') return;
    const known = tokens.get(content)?.id ?? vocabulary.get(content) ?? id ?? next;
    next = Math.max(next, known + 1);
    const given = typeof token === 'object' ? (token as Partial<AddedToken>) : {};
    tokens.set(content, { ...DEFAULT_FLAGS, ...given, ...flags, id: known, content });
  };
  const decoder = config.added_tokens_decoder as { readonly [id: string]: unknown } | undefined;
  for (const token of files.described) add(token, token.id);
  for (const [id, token] of Object.entries(decoder ?? {})) add(token, Number(id));
  for (const [content, id] of Object.entries(decoder ? {} : files.added))
    add(content, Number(id), { special: false, normalized: true });
  const named = TOKEN_KEYS.map((key) => config[key]);
  const extra = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) =>
    Array.isArray(list) ? list : [],
  );
  for (const token of [...named, ...extra]) {
    // If the config lists its added tokens, the list has their flags.
    const listed = decoder && tokens.get(textOf(token, ''));
    add(listed || token, undefined, { special: true });
  }
  return [...tokens.values()].sort((a, b) => a.id - b.id);
}

const DEFAULT_FLAGS = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };

/** The largest id; -1 for none. */
function maximum(ids: Iterable<number>): number {
  let largest = -1;
  for (const id of ids) largest = Math.max(largest, id);
  return largest;
}

/** The text of a token, which files give as text or as an object with `content`. */
export function textOf(token: unknown, fallback: string): string {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : fallback;
}
