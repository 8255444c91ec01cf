import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/bundles/files.ts';
import { type GraphReward, readRewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Picture } from '../../src/core/picture.ts';
import { preprocess } from '../../src/engine/preprocess.ts';
import { RewardModel } from '../../src/engine/reward-model.ts';

const FOLDER = fileURLToPath(new URL('../fixtures/rewards/', import.meta.url));
const options = { executionProviders: ['cpu'], threads: 2, batchSize: 8 };
/** Written by tools/parity/make_reward_fixtures.py. */
const fixture: { prompts: string[]; clip: number[][]; aesthetic: number[] } = JSON.parse(
  await readFile(join(FOLDER, 'scores.json'), 'utf8'),
);
const pictures = await Promise.all(fixture.aesthetic.map((_, i) => readPicture(join(FOLDER, `${i}.png`))));

const root = await mkdtemp(join(tmpdir(), 'findery-rewards-'));
afterAll(() => rm(root, { recursive: true }));

async function readPicture(path: string): Promise<Picture> {
  const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, pixels: new Uint8Array(data) };
}

async function score(folder: string, prompt: string, of = pictures): Promise<number[]> {
  const bundle = (await readRewardBundle(folder)) as GraphReward;
  const model = await RewardModel.open(bundle, options);
  try {
    return await model.score(of, bundle.tokenizer?.encode(prompt) ?? null);
  } finally {
    await model.release();
  }
}

/** A copy whose card says something else. */
async function withCard(name: string, changes: object): Promise<string> {
  const folder = await mkdtemp(join(root, 'card-'));
  await cp(join(FOLDER, name), folder, { recursive: true });
  const card = JSON.parse(await readFile(join(folder, 'findery.json'), 'utf8'));
  await writeFile(join(folder, 'findery.json'), JSON.stringify({ ...card, ...changes }));
  return folder;
}

function expectClose(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i] - value), `picture ${i}`).toBeLessThan(tolerance);
}

describe('a CLIP graph', () => {
  it.each([0, 1])("gives transformers' 100 * cosine for prompt %i, on pictures of odd sizes", async (i) => {
    expectClose(await score(join(FOLDER, 'clip'), fixture.prompts[i]), fixture.clip[i], 1e-3);
  });

  it('takes its temperature, mean and deviation from the card', async () => {
    const folder = await withCard('clip', { score: { type: 'cosine', scale: 1 }, mean: 0.2, std: 0.5 });
    const expected = fixture.clip[0].map((value) => (value / 100 - 0.2) / 0.5);
    expectClose(await score(folder, fixture.prompts[0]), expected, 1e-4);
  });

  it('is no reward by itself: without "cosine" it has no output to take', async () => {
    const folder = await withCard('clip', { score: undefined });
    await expect(score(folder, 'a dog')).rejects.toThrow(/no "reward" among its outputs \(image_embeds/);
  });
});

describe('a graph that scores by itself', () => {
  it("gives the scores of the affine head on CLIP's embedding", async () => {
    expectClose(await score(join(FOLDER, 'aesthetic'), 'whatever'), fixture.aesthetic, 1e-4);
  });

  it('gives each picture the same score in any company', async () => {
    const alone = await score(join(FOLDER, 'aesthetic'), '', [pictures[3]]);
    expectClose(alone, [fixture.aesthetic[3]], 1e-4);
  });

  it('can not be read as embeddings', async () => {
    const folder = await withCard('aesthetic', { score: { type: 'cosine' } });
    await expect(score(folder, '')).rejects.toThrow(/no "image_embeds" among its outputs \(reward\)/);
  });
});

describe('a card that says how scores are made', () => {
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
    [{ type: 'chat', baseUrl: 'http://x' }, /model undefined; a reward of type chat needs it/],
    [
      { type: 'chat', baseUrl: 'http://x', model: 'm', scale: [10, 0] },
      /scale \[10,0\]; it takes \[lowest, highest\]/,
    ],
  ])('%j is refused when it can not be meant', async (changes, message) => {
    const reading = withCard('clip', changes).then(readRewardBundle);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(message);
  });
});

describe('a crop', () => {
  it("begins where transformers begins, or where torchvision does (ImageReward's)", () => {
    const picture = {
      width: 7,
      height: 4,
      pixels: Uint8Array.from({ length: 7 * 4 * 3 }, (_, i) => Math.floor(i / 3) % 7),
    };
    const steps = {
      resize: null,
      resample: 'bicubic',
      crop: { width: 4, height: 4 },
      rescaleFactor: 1,
      mean: [0, 0, 0],
      std: [1, 1, 1],
    } as const;
    // 1.5 pixels are left on each side.
    expect(preprocess(picture, { ...steps, cropRounding: 'floor' }).values[0]).toBe(1);
    expect(preprocess(picture, { ...steps, cropRounding: 'nearest' }).values[0]).toBe(2);
  });
});
