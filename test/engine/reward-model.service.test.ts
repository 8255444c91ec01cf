import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { type GraphReward, readRewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Picture } from '../../src/core/picture.ts';
import { RewardModel } from '../../src/engine/reward-model.ts';
import { copyWithCard, REWARD_FIXTURES } from '../support/reward-fixtures.ts';

const options = { executionProviders: ['cpu'], threads: 2, batchSize: 8 };
/** Written by tools/parity/make_reward_fixtures.py. */
const fixture: { prompts: string[]; clip: number[][]; aesthetic: number[] } = JSON.parse(
  await readFile(join(REWARD_FIXTURES, 'scores.json'), 'utf8'),
);
const pictures = await Promise.all(
  fixture.aesthetic.map((_, i) => readPicture(join(REWARD_FIXTURES, `${i}.png`))),
);

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

function expectClose(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i] - value), `picture ${i}`).toBeLessThan(tolerance);
}

describe('a CLIP graph', () => {
  it.each([0, 1])("gives transformers' 100 * cosine for prompt %i, for pictures of odd sizes", async (i) => {
    expectClose(await score(join(REWARD_FIXTURES, 'clip'), fixture.prompts[i]), fixture.clip[i], 1e-3);
  });

  it('is scaled and normalized as its card says', async () => {
    const folder = await copyWithCard(root, 'clip', {
      score: { type: 'cosine', scale: 1 },
      mean: 0.2,
      std: 0.5,
    });
    const expected = fixture.clip[0].map((value) => (value / 100 - 0.2) / 0.5);
    expectClose(await score(folder, fixture.prompts[0]), expected, 1e-4);
  });

  it('is rejected without "cosine" in its card, because it has no output "reward"', async () => {
    const folder = await copyWithCard(root, 'clip', { score: undefined });
    await expect(score(folder, 'a dog')).rejects.toThrow(/no "reward" among its outputs \(image_embeds/);
  });
});

describe('a graph with an output "reward"', () => {
  it("gives the scores of the affine head on CLIP's embedding", async () => {
    expectClose(await score(join(REWARD_FIXTURES, 'aesthetic'), 'whatever'), fixture.aesthetic, 1e-4);
  });

  it('scores a picture the same alone and among others', async () => {
    const alone = await score(join(REWARD_FIXTURES, 'aesthetic'), '', [pictures[3]]);
    expectClose(alone, [fixture.aesthetic[3]], 1e-4);
  });

  it('is rejected with "cosine" in its card, because it has no embeddings', async () => {
    const folder = await copyWithCard(root, 'aesthetic', { score: { type: 'cosine' } });
    await expect(score(folder, '')).rejects.toThrow(/no "image_embeds" among its outputs \(reward\)/);
  });
});
