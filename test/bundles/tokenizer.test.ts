import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/bundles/files.ts';
import { readTokenizer } from '../../src/bundles/tokenizer.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FIXTURES = join(ROOT, 'test/fixtures/tokenizers');
const STICKERS = join(ROOT, 'models/stickers/tokenizer');

/** Written by tools/parity/make_tokenizer_fixture.py. */
const fixture: {
  readonly texts: readonly string[];
  readonly tokenizers: readonly {
    readonly name: string;
    readonly folder: string;
    readonly window: number;
    readonly size: number;
    readonly pad: number;
    readonly ids: readonly (readonly number[])[];
    readonly whole: readonly number[];
  }[];
} = JSON.parse(await readFile(join(FIXTURES, 'expected.json'), 'utf8'));

const temporary = await mkdtemp(join(tmpdir(), 'findery-tokenizer-'));
afterAll(() => rm(temporary, { recursive: true }));

let copies = 0;

/** A tokenizer of one word. */
const UNIGRAM = {
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: { type: 'Unigram', unk_id: 0, vocab: [['dog', 0]] },
};

/** Stable Diffusion 2's files: the padding is in special_tokens_map.json alone. */
async function padWithExclamation(): Promise<string> {
  const folder = join(temporary, 'clip-exclamation');
  await cp(STICKERS, folder, { recursive: true });
  await cp(join(FIXTURES, 'clip-exclamation'), folder, { recursive: true });
  const { pad_token: _, ...config } = JSON.parse(
    await readFile(join(folder, 'tokenizer_config.json'), 'utf8'),
  );
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  return folder;
}

const FOLDERS: { readonly [name: string]: string } = {
  stickers: STICKERS,
  'clip-exclamation': await padWithExclamation(),
};
const folderOf = (name: string) => FOLDERS[name] ?? join(FIXTURES, name);
const nameOf = (text: string) => JSON.stringify(text.length > 50 ? `${text.slice(0, 50)}...` : text);

describe.each(fixture.tokenizers)(
  "$name gives transformers' ids",
  async ({ folder, window, size, pad, ids, whole }) => {
    const tokenizer = await readTokenizer(folderOf(folder));

    it('in a window and a vocabulary of the same size', () => {
      expect([tokenizer.window, tokenizer.vocabularySize]).toEqual([window, size]);
    });

    it.each(fixture.texts.map((text, i) => [nameOf(text), text, i] as const))('for %s', (_, text, i) => {
      const encoding = tokenizer.encode(text);
      const padding = new Array<number>(window - ids[i].length).fill(pad);
      expect(encoding.inputIds).toEqual([...ids[i], ...padding]);
      expect(encoding.attentionMask).toEqual([...ids[i].map(() => 1), ...padding.fill(0)]);
      expect(encoding.truncated !== null).toBe(whole[i] > window);
    });
  },
);

describe('a text that is too long', async () => {
  const tokenizer = await readTokenizer(STICKERS);

  it('keeps start and end, and the rest is reported as text', () => {
    const beginning = 'one two three four five six';
    const long = `${beginning} ${'a dog '.repeat(20)}`;
    const { inputIds, truncated } = tokenizer.encode(long);
    const [start, end] = [tokenizer.encode('').inputIds[0], tokenizer.encode('').inputIds[1]];
    expect(inputIds[0]).toBe(start);
    expect(inputIds.at(-1)).toBe(end);
    expect(inputIds).toHaveLength(tokenizer.window);
    expect(truncated).toMatch(/^(a |dog )?(a dog ?)+$/);
    expect(long.trim().endsWith(truncated ?? 'nothing')).toBe(true);
  });

  it('is reported in any script', () => {
    const filler = 'a '.repeat(tokenizer.window - 2);
    expect(tokenizer.encode(`${filler}café 🐶, it's late`).truncated).toBe("café 🐶, it's late");
    expect(tokenizer.encode(`${filler}草地`).truncated).toBe('草地');
  });

  it('is reported by BERT and T5, too', async () => {
    const bert = await readTokenizer(join(FIXTURES, 'bert'));
    expect(bert.encode(`${'a '.repeat(bert.window - 2)}a red dog`).truncated).toBe('a red dog');
    const t5 = await readTokenizer(join(FIXTURES, 't5'));
    expect(t5.encode(`${'a '.repeat(t5.window)}a dog`).truncated).toContain('a dog');
  });
});

describe('the window', () => {
  it('can be chosen by the caller', async () => {
    for (const [folder, window] of [
      ['t5', 256],
      ['bert', 12],
    ] as const) {
      const tokenizer = await readTokenizer(join(FIXTURES, folder), '', window);
      const own = await readTokenizer(join(FIXTURES, folder));
      const { inputIds, attentionMask } = tokenizer.encode('a red dog');
      expect([tokenizer.window, inputIds.length, attentionMask.length]).toEqual([window, window, window]);
      expect(inputIds.slice(0, 5)).toEqual(own.encode('a red dog').inputIds.slice(0, 5));
    }
  });

  it("is max_length, then model_max_length of BERT's config, and 512 by default", async () => {
    for (const [config, window] of [
      [{ model_max_length: 512, max_length: 128 }, 128],
      [{ model_max_length: 1e30 }, 512],
    ] as const) {
      const folder = await copyOf('bert', { tokenizer_class: 'BertTokenizer', ...config });
      expect((await readTokenizer(folder)).window).toBe(window);
    }
  });
});

describe('added tokens', () => {
  it("are read from the files of old versions of transformers, such as ImageReward's", async () => {
    const own = await readTokenizer(join(FIXTURES, 'bert'));
    const folder = await copyOf('bert', { tokenizer_class: 'BertTokenizer', model_max_length: 35 });
    const size = own.vocabularySize;
    await writeFile(
      join(folder, 'added_tokens.json'),
      JSON.stringify({ '[ENC]': size - 1, '[DEC]': size - 2 }),
    );
    await writeFile(
      join(folder, 'special_tokens_map.json'),
      JSON.stringify({ bos_token: '[DEC]', additional_special_tokens: ['[ENC]'] }),
    );
    const tokenizer = await readTokenizer(folder);
    expect(tokenizer.vocabularySize).toBe(size);
    for (const text of fixture.texts) expect(tokenizer.encode(text)).toEqual(own.encode(text));
  });

  it('are read from added_tokens_decoder', async () => {
    const own = await readTokenizer(join(FIXTURES, 'bert'));
    const size = own.vocabularySize;
    const folder = await copyOf('bert', {
      tokenizer_class: 'BertTokenizer',
      added_tokens_decoder: { [size]: { content: '<sticker>', normalized: false, special: false } },
    });
    const tokenizer = await readTokenizer(folder);
    expect(tokenizer.encode('a<sticker>').inputIds).toContain(size);
    expect(tokenizer.vocabularySize).toBe(size + 1);
  });
});

describe('readTokenizer rejects', () => {
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
          ...UNIGRAM,
          normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' },
        }),
      },
      /precompiled_charsmap that is damaged/,
    ],
  ])('%s', async (_, files, message) => {
    const folder = join(temporary, `damaged-${copies++}`);
    await mkdir(folder);
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    const reading = readTokenizer(folder);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(message);
  });
});

/** A tokenizer of the fixtures with another config. */
async function copyOf(name: string, config: object): Promise<string> {
  const folder = join(temporary, `${name}-${copies++}`);
  await cp(join(FIXTURES, name), folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  return folder;
}
