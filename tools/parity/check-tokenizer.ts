import { readFile, writeFile } from 'node:fs/promises';
import { readTokenizer } from '../../src/bundles/tokenizer.ts';

/**
 * findery's side of check_tokenizers.py: node check-tokenizer.ts FOLDER TEXTS ANSWER, the last two
 * JSON files.
 */
const [folder, texts, answer] = process.argv.slice(2);
const tokenizer = await readTokenizer(folder);
const rows = (JSON.parse(await readFile(texts, 'utf8')) as string[]).map((text) => {
  const { inputIds, attentionMask } = tokenizer.encode(text);
  return { ids: inputIds, mask: attentionMask };
});
const { window, vocabularySize } = tokenizer;
await writeFile(answer, JSON.stringify({ window, vocabularySize, rows }));
