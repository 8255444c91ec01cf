import { BundleError, type Json, readText } from '../files.ts';
import { spelling } from './special-tokens.ts';

/** Special tokens that a config need not name. */
export const BERT_TOKENS = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};

/** What transformers makes of BERT's `vocab.txt` (one token a line, its number the id), but for the added tokens. */
export async function describeBert(folder: string, subfolder: string, config: Json): Promise<Json> {
  const lines = (await readText(folder, `${subfolder}vocab.txt`)).replace(/\r?\n$/, '').split(/\r?\n/);
  const vocab = Object.fromEntries(lines.map((token, id) => [token, id]));
  const special = (key: 'unk_token' | 'sep_token' | 'cls_token') => {
    const content = spelling(config[key], BERT_TOKENS[key]);
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
