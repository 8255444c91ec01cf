/** Token ids by our tokenizer, for check_tokenizers.py: {"folder", "window", "texts"} on standard input, a list of lists of ids on standard output. */
import { text } from 'node:stream/consumers';
import { readTokenizer } from '../../src/bundles/tokenizer.ts';

const { folder, window, texts } = JSON.parse(await text(process.stdin)) as {
  folder: string;
  window: number;
  texts: string[];
};
const tokenizer = await readTokenizer(folder, '', window);
process.stdout.write(JSON.stringify(texts.map((one) => tokenizer.encode(one).inputIds)));
