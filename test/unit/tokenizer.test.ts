import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BundleError } from '../../src/bundles/files.ts';
import { readTokenizer } from '../../src/bundles/tokenizer.ts';

const ROOT = join(import.meta.dirname, '..', '..');
interface Fixture {
  readonly window: number;
  readonly cases: { text: string; ids: number[]; mask: number[]; whole: number[] }[];
}

/** Written by tools/parity/make_tokenizer_fixture.py. */
const FIXTURES = join(ROOT, 'test/fixtures/tokenizers');
const readFixture = async (kind: string): Promise<Fixture> =>
  JSON.parse(await readFile(join(FIXTURES, `${kind}.json`), 'utf8'));
const nameOf = (text: string) => JSON.stringify(text.length > 50 ? `${text.slice(0, 50)}...` : text);

describe.each([
  ['CLIP', 'clip', join(ROOT, 'models/stickers/tokenizer')],
  ['BERT', 'bert', join(FIXTURES, 'bert')],
  ['T5', 't5', join(FIXTURES, 't5')],
])("%s's tokenizer", async (_, kind, folder) => {
  const fixture = await readFixture(kind);
  const tokenizer = await readTokenizer(folder);

  it('reads as many tokens as its config says, or as many as it is told', async () => {
    expect(tokenizer.window).toBe(fixture.window);
    const short = await readTokenizer(folder, '', 9);
    expect(short.window).toBe(9);
    const [{ text, whole }] = fixture.cases;
    expect(short.encode(text).inputIds).toHaveLength(9);
    expect(short.encode('a '.repeat(20)).inputIds.at(-1)).toBe(whole.at(-1));
  });

  it('knows how many embeddings its ids need', () => {
    const largest = Math.max(...fixture.cases.flatMap(({ whole }) => whole));
    expect(tokenizer.vocabularySize).toBeGreaterThan(largest);
    expect(tokenizer.vocabularySize).toBeLessThan(1000);
  });

  describe('gives the ids and the mask of transformers for', () => {
    it.each(fixture.cases.map((one) => [nameOf(one.text), one] as const))('%s', (_, { text, ids, mask }) => {
      const encoding = tokenizer.encode(text);
      expect(encoding.inputIds).toEqual(ids);
      expect(encoding.attentionMask).toEqual(mask);
    });
  });

  it('says that a text was cut when, and only when, it does not fit', () => {
    for (const { text, whole } of fixture.cases) {
      const { truncated } = tokenizer.encode(text);
      expect(truncated !== null, nameOf(text)).toBe(whole.length > fixture.window);
    }
  });
});

describe('the tokenizer of the embedded model', async () => {
  const tokenizer = await readTokenizer(join(ROOT, 'models/stickers/tokenizer'));

  it('keeps start and end of a text that is cut, and spells what was cut off', () => {
    const kept = 'one two three four five six';
    const long = `${kept} ${'a dog '.repeat(20)}`;
    const { inputIds, truncated } = tokenizer.encode(long);
    const [start, end] = [tokenizer.encode('').inputIds[0], tokenizer.encode('').inputIds[1]];
    expect(inputIds[0]).toBe(start);
    expect(inputIds.at(-1)).toBe(end);
    expect(inputIds).toHaveLength(tokenizer.window);
    expect(truncated).toMatch(/^(a |dog )?(a dog ?)+$/);
    expect(long.trim().endsWith(truncated ?? 'nothing')).toBe(true);
  });

  it('spells what was cut off in whatever script it is', () => {
    const filler = 'a '.repeat(tokenizer.window - 2);
    expect(tokenizer.encode(`${filler}café 🐶, it's late`).truncated).toBe("café 🐶, it's late");
    expect(tokenizer.encode(`${filler}草地`).truncated).toBe('草地');
  });
});

describe('a tokenizer that can not be read', () => {
  const inFolder = async (files: { readonly [name: string]: string }) => {
    const folder = await mkdtemp(join(tmpdir(), 'findery-tokenizer-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return readTokenizer(folder);
  };

  it.each([
    ['only spiece.model', { 'spiece.model': 'x' }, /has only spiece\.model; write tokenizer\.json beside it/],
    ['no file', {}, /vocab\.json is missing/],
    [
      'a vocab.txt without [CLS]',
      { 'vocab.txt': '[PAD]\n[UNK]\n[SEP]\n[MASK]\ndog\n' },
      /vocab\.txt has no token "\[CLS\]"/,
    ],
    ['a tokenizer.json of nothing', { 'tokenizer.json': '{}' }, /tokenizer\.json holds no tokenizer/],
    [
      'a damaged table',
      {
        'tokenizer.json': JSON.stringify({
          normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' },
          model: {},
        }),
      },
      /precompiled_charsmap that is damaged/,
    ],
  ])('%s', async (_, files, message) => {
    const reading = inFolder(files);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(message);
  });
});
