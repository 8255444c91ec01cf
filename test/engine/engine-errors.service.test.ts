import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import type { ModelBundle } from '../../src/bundles/model-bundle.ts';
import type { GraphReward } from '../../src/bundles/reward-bundle.ts';
import { Engine, type PipelineRequest } from '../../src/engine/engine.ts';
import { EngineError } from '../../src/engine/errors.ts';
import { EMBEDDED } from '../support/bundle-copies.ts';
import { CHEAP, ENGINE_OPTIONS, evaluate, model, noisesAt, reward } from '../support/engine.ts';

const root = await mkdtemp(join(tmpdir(), 'findery-engine-errors-'));
afterAll(() => rm(root, { recursive: true }));

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start(ENGINE_OPTIONS);
  await engine.open(model, [reward], { warmUp: true });
});
afterAll(() => engine.close());

/** A copy of the embedded model or reward with files changed. */
async function damage(name: 'stickers' | 'stickers-reward', change: (path: string) => Promise<unknown>) {
  const folder = await mkdtemp(join(root, 'damaged-'));
  await cp(join(EMBEDDED, name), join(folder, name), { recursive: true });
  await change(join(folder, name));
  const { models, rewards, problems } = await readCatalog([folder]);
  expect(problems).toEqual([]);
  return {
    model: models[0] as ModelBundle | undefined,
    reward: rewards.find(({ path }) => path !== null) as GraphReward | undefined,
  };
}

/** The message of the EngineError that an evaluation rejects with. */
async function errorOf(changes: Partial<PipelineRequest>): Promise<string> {
  const error = await evaluate(engine, noisesAt(0), { ...CHEAP, ...changes }).catch(
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(EngineError);
  return (error as EngineError).message;
}

describe('an evaluation fails with an EngineError that names the cause', () => {
  it('if a graph is random bytes, until the file is replaced', async () => {
    const damaged = await damage('stickers', async (path) => {
      const unet = join(path, 'unet/model.onnx');
      await writeFile(unet, randomBytes((await stat(unet)).size));
    });
    const message = await errorOf({ model: damaged.model });
    expect(message).toContain(damaged.model?.graphs.denoiser);
    expect(message).toMatch(/can't be opened.*Copy or export the file again/s);

    await cp(model.graphs.denoiser, String(damaged.model?.graphs.denoiser));
    expect(await evaluate(engine, noisesAt(0), { ...CHEAP, model: damaged.model })).toHaveLength(1);
  });

  it('if the graph of the reward is random bytes', async () => {
    const damaged = await damage('stickers-reward', (path) =>
      writeFile(join(path, 'model.onnx'), randomBytes(5000)),
    );
    expect(await errorOf({ rewards: [damaged.reward as GraphReward] })).toContain(damaged.reward?.graph);
  });

  it.each([
    ['vae_decoder', 'unet', /timestep|encoder_hidden_states/],
    ['text_encoder', 'unet', /sample/],
    ['unet', 'vae_decoder', /wants timestep.*is this the right graph/],
    ['unet', 'text_encoder', /input_ids/],
    ['vae_decoder', 'text_encoder', /input_ids/],
    ['text_encoder', 'vae_decoder', /latent_sample/],
  ])('if the graph of the %s is in the folder of the %s', async (from, to, missing) => {
    const damaged = await damage('stickers', (path) =>
      cp(join(path, from, 'model.onnx'), join(path, to, 'model.onnx')),
    );
    const message = await errorOf({ model: damaged.model });
    expect(message).toContain(join(to, 'model.onnx'));
    expect(message).toMatch(missing);
  });

  it('if the graph of the reward is not a reward', async () => {
    const damaged = await damage('stickers-reward', (path) =>
      cp(model.graphs.vaeDecoder, join(path, 'model.onnx')),
    );
    expect(await errorOf({ rewards: [damaged.reward as GraphReward] })).toContain(damaged.reward?.graph);
  });

  it('if the reward gives no finite numbers', async () => {
    // Infinite pixel values, which any network turns into NaN.
    const damaged = await damage('stickers-reward', async (path) => {
      const config = join(path, 'preprocessor_config.json');
      await writeFile(
        config,
        JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), rescale_factor: 1e300 }),
      );
    });
    const message = await errorOf({ rewards: [damaged.reward as GraphReward] });
    expect(message).toContain('"stickers-reward" gave NaN');
    expect(message).toContain('finite');
  });

  it('if the reward reads text and has no tokenizer', async () => {
    const damaged = await damage('stickers-reward', async (path) => {
      await rm(join(path, 'vocab.json'));
      await rm(join(path, 'findery.json'));
    });
    expect(await errorOf({ rewards: [damaged.reward as GraphReward] })).toMatch(
      /reads "input_ids".*has no tokenizer/s,
    );
  });

  it('and other models go on', async () => {
    expect(await evaluate(engine, noisesAt(0))).toHaveLength(1);
    expect(engine.loaded()).toEqual(expect.arrayContaining(['stickers', 'stickers-reward']));
  });
});

it('opening a bundle finds graphs of the wrong kind, before the first job', async () => {
  const decoder = await damage('stickers', (path) =>
    cp(model.graphs.denoiser, join(path, 'vae_decoder/model.onnx')),
  );
  await expect(engine.open(decoder.model ?? model, [], { warmUp: false })).rejects.toThrow(
    /vae_decoder.*wants timestep/s,
  );
  const damaged = await damage('stickers-reward', (path) =>
    cp(model.graphs.vaeDecoder, join(path, 'model.onnx')),
  );
  await expect(engine.open(model, [damaged.reward ?? reward], { warmUp: false })).rejects.toThrow(
    /no "reward" among its outputs/,
  );
});
