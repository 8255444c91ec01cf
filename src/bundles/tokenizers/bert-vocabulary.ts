import { BundleError, type Json, readText } from '../files.ts';
import { textOf } from './special-tokens.ts';

/** BERT's special tokens, for configs that leave them out. */
export const BERT_TOKENS = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};

/**
 * Describes BERT's `vocab.txt` in the format of `tokenizer.json`, as transformers converts it. Each
 * line is a token, its line number the id. Added tokens are left out.
 * @throws BundleError if the file is missing or lacks a special token
 */
export async function describeBert(folder: string, subfolder: string, config: Json): Promise<Json> {
  const lines = (await readText(folder, `${subfolder}vocab.txt`)).replace(/\r?\n$/, '').split(/\r?\n/);
  const vocab = Object.fromEntries(lines.map((token, id) => [token, id]));
  const special = (key: 'unk_token' | 'sep_token' | 'cls_token') => {
    const content = textOf(config[key], BERT_TOKENS[key]);
    if (vocab[content] === undefined)
      throw new BundleError(`${subfolder}vocab.txt has no token "${content}"; copy the file again`);
    return { content, id: vocab[content] };
  };
  const [unknown, start, end] = [special('unk_token'), special('cls_token'), special('sep_token')];
  return {
    version: '1.0',
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: config.tokenize_chinese_chars ?? true,
      strip_accents: config.strip_accents ?? null,
      lowercase: config.do_lower_case ?? true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: start.content, type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: end.content, type_id: 0 } },
      ],
      pair: [],
      special_tokens: Object.fromEntries(
        [start, end].map(({ content, id }) => [content, { id: content, ids: [id], tokens: [content] }]),
      ),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: unknown.content,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}
