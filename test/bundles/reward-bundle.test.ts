import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/bundles/files.ts';
import { readRewardBundle } from '../../src/bundles/reward-bundle.ts';
import { copyWithCard } from '../support/reward-fixtures.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-reward-bundles-'));
afterAll(() => rm(root, { recursive: true }));

describe('readRewardBundle rejects a card', () => {
  it.each([
    [{ score: { type: 'logit' } }, /score \{"type":"logit"\}; it takes/],
    [{ score: { type: 'cosine', scale: 'hot' } }, /score\.scale "hot"/],
    [{ std: 0 }, /std 0/],
    [{ mean: 'zero' }, /mean "zero"/],
    [{ type: 'oracle' }, /type "oracle"; rewards in folders are graph, http or chat/],
    [{ type: 'http' }, /url undefined; it takes an address/],
    [{ type: 'http', url: 'ftp://scores' }, /url "ftp:\/\/scores"/],
    [
      { type: 'http', url: 'http://x', timeoutSeconds: 0 },
      /timeoutSeconds 0; it takes a number from 0.1 to 3600/,
    ],
    [{ type: 'http', url: 'http://x', headers: ['a'] }, /headers \["a"\]; it takes an object of texts/],
    [{ type: 'chat', baseUrl: 'http://x' }, /model undefined; a reward of type chat needs text there/],
    [
      { type: 'chat', baseUrl: 'http://x', model: 'm', scale: [10, 0] },
      /scale \[10,0\]; it takes \[lowest, highest\]/,
    ],
  ])('with %j', async (changes, message) => {
    const reading = copyWithCard(root, 'clip', changes).then(readRewardBundle);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(message);
  });
});
