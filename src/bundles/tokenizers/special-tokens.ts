import type { Json } from '../files.ts';

/** A token that is taken from the text as it stands, before anything else reads it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Whether it is looked for in the text after normalisation, so in lower case too. */
  readonly normalized: boolean;
}

/** The names under which configs give special tokens, in the order in which transformers adds them. */
const NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const;

/**
 * The added tokens of a tokenizer as transformers 5 makes them of its files: those of `tokenizer.json` or `added_tokens_decoder` or
 * `added_tokens.json`, then every token that a config names, the last word on a token's flags being the last name it has. A token that
 * the vocabulary lacks gets the next id. So "!" is such a token where it is the padding (Stable Diffusion 2, the second tokenizer of
 * XL), and a prompt with "!" has its id.
 * @param vocabulary token to id
 * @param files what the files say: `config` is tokenizer_config.json over special_tokens_map.json, `added` is added_tokens.json
 */
export function addedTokens(
  vocabulary: ReadonlyMap<string, number>,
  files: { readonly config: Json; readonly added: Json; readonly described: readonly AddedToken[] },
): AddedToken[] {
  const { config } = files;
  const tokens = new Map<string, AddedToken>();
  let next = largest(vocabulary.values()) + 1;
  const add = (token: unknown, id?: number, flags: Partial<AddedToken> = {}) => {
    const content = spelling(token, '');
    if (content === '') return;
    const known = tokens.get(content)?.id ?? vocabulary.get(content) ?? id ?? next;
    next = Math.max(next, known + 1);
    const given = typeof token === 'object' ? (token as Partial<AddedToken>) : {};
    tokens.set(content, { ...PLAIN, ...given, ...flags, id: known, content });
  };
  const decoder = config.added_tokens_decoder as { readonly [id: string]: unknown } | undefined;
  for (const token of files.described) add(token, token.id);
  for (const [id, token] of Object.entries(decoder ?? {})) add(token, Number(id));
  for (const [content, id] of Object.entries(decoder ? {} : files.added))
    add(content, Number(id), { special: false, normalized: true });
  const named = NAMES.map((name) => config[name]);
  const extra = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) =>
    Array.isArray(list) ? list : [],
  );
  for (const token of [...named, ...extra]) {
    // Where the config lists its added tokens, that list has their flags.
    const listed = decoder && tokens.get(spelling(token, ''));
    add(listed || token, undefined, { special: true });
  }
  return [...tokens.values()].sort((a, b) => a.id - b.id);
}

const PLAIN = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };

function largest(ids: Iterable<number>): number {
  let most = -1;
  for (const id of ids) most = Math.max(most, id);
  return most;
}

/** Tokens are given as text, or as an object with their text. */
export function spelling(token: unknown, fallback: string): string {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : fallback;
}
