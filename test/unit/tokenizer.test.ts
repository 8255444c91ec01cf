import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readTokenizer } from '../../src/bundles/tokenizer.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const fixture: {
  window: number;
  cases: { text: string; ids: number[]; mask: number[]; whole: number[] }[];
} = JSON.parse(await readFile(join(ROOT, 'test/fixtures/tokenizer.json'), 'utf8'));
const tokenizer = await readTokenizer(join(ROOT, 'models/stickers/tokenizer'));

const nameOf = (text: string) => JSON.stringify(text.length > 50 ? `${text.slice(0, 50)}...` : text);

describe('the tokenizer of the embedded model', () => {
  it('reads as many tokens as its config says', () => {
    expect(tokenizer.window).toBe(fixture.window);
  });

  describe('gives the ids and the mask of CLIPTokenizer in transformers for', () => {
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
