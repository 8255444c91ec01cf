import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readReward } from '../support/reward-server.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-service-rewards-'));
afterAll(() => rm(root, { recursive: true }));

describe('the card of a reward service', () => {
  it.each([
    [{ type: 'http' }, /url undefined/],
    [{ type: 'http', url: 'file:///etc/passwd' }, /http:\/\/ or https:\/\//],
    [{ type: 'http', url: 'http://me:hidden@example.com/' }, /url.*user name.*headers/],
    [{ type: 'http', url: 'http://x/', retries: 0.5 }, /retries 0\.5.*whole number from 0 to 10/],
    [{ type: 'http', url: 'http://x/', batchSize: 2.5 }, /batchSize 2\.5.*whole number from 1 to 256/],
    [{ type: 'http', url: 'http://x/', concurrency: 1.5 }, /concurrency 1\.5.*whole number from 1 to 64/],
    [
      { type: 'http', url: 'http://x/', timeoutSeconds: '30' },
      /timeoutSeconds "30".*number from 0\.1 to 3600/,
    ],
    [{ type: 'http', url: 'http://x/', headers: { 'x key': 'a' } }, /headers.*"x key"/],
    [{ type: 'http', url: 'http://x/', headers: ['x-key: a'] }, /headers.*object of texts/],
    [{ type: 'chat', baseUrl: 'http://x/' }, /model undefined/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', range: ['0', '1'] }, /range.*two numbers/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', range: [1, 0] }, /range.*two numbers/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', scale: [10, 0] }, /scale \[10,0\]/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', temperature: 3 }, /temperature 3.*from 0 to 2/],
    [{ type: 'jpeg-size' }, /type "jpeg-size".*graph, http or chat/],
  ])('%j is a problem that names the key', async (card, words) => {
    const problem = await readReward(root, card);
    expect(problem).toMatch(words);
    expect(problem).not.toContain('hidden');
  });
});
