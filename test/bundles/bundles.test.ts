import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { BundleError, type Json } from '../../src/bundles/files.ts';
import type { GraphReward } from '../../src/bundles/reward-bundle.ts';

const EMBEDDED = join(import.meta.dirname, '..', '..', 'models');
const root = await mkdtemp(join(tmpdir(), 'findery-bundles-'));
afterAll(() => rm(root, { recursive: true }));

/** A folder with copies of the embedded model and its reward (graphs only in name: nobody opens them here), for one test to spoil. */
let folder = '';
let copies = 0;
beforeEach(async () => {
  folder = join(root, String(++copies));
  await copyBundles(folder);
});

async function copyBundles(to: string): Promise<void> {
  await cp(EMBEDDED, to, {
    recursive: true,
    filter: (path) => !/(\.onnx|vae_encoder|stickers-unseen)$/.test(path),
  });
  for (const graph of ['stickers/text_encoder', 'stickers/unet', 'stickers/vae_decoder', 'stickers-reward'])
    await writeFile(join(to, graph, 'model.onnx'), new Uint8Array(1000));
}

async function readJson(path: string): Promise<Json> {
  return JSON.parse(await readFile(join(folder, path), 'utf8')) as Json;
}

async function changeJson(path: string, changes: Json): Promise<void> {
  await writeFile(join(folder, path), JSON.stringify({ ...(await readJson(path)), ...changes }));
}

/** The one problem of the folder; the other bundle has to be there all the same. */
async function readProblem(kind: 'model' | 'reward'): Promise<string> {
  const { models, rewards, problems } = await readCatalog([folder]);
  const spoilt = kind === 'model' ? 'stickers' : 'stickers-reward';
  expect(problems).toMatchObject([{ name: spoilt, kind, path: join(folder, spoilt) }]);
  const inFolders = [...models, ...rewards].filter(({ path }) => path !== null);
  expect(inFolders.map(({ name }) => name)).toEqual([kind === 'model' ? 'stickers-reward' : 'stickers']);
  expect(problems[0].message).toMatch(/\.$/);
  return problems[0].message;
}

describe('readCatalog on the embedded bundles', async () => {
  const { models, rewards, problems } = await readCatalog([EMBEDDED]);

  it('finds no problem', () => {
    expect(problems).toEqual([]);
    expect(models.map(({ name }) => name)).toEqual(['stickers']);
    expect(rewards.map(({ name }) => name)).toEqual(['stickers-reward', 'stickers-unseen', 'jpeg-size']);
  });

  it("gives the model as the model's files describe it", async () => {
    const [model] = models;
    const card = await readJson('stickers/findery.json');
    const unet = await readJson('stickers/unet/config.json');
    const vae = await readJson('stickers/vae_decoder/config.json');
    const tokenizer = await readJson('stickers/tokenizer/tokenizer_config.json');
    const path = join(EMBEDDED, 'stickers');
    expect(model).toMatchObject({
      path,
      title: card.title,
      licence: card.licence,
      family: 'stable-diffusion',
      defaults: { ...(card.defaults as object), clipSkip: 0 },
      sizes: card.sizes,
      latentChannels: unet.in_channels,
      vaeScaleFactor: 4,
      scalingFactor: vae.scaling_factor,
      shiftFactor: 0,
      schedulerConfig: await readJson('stickers/scheduler/scheduler_config.json'),
      graphs: {
        textEncoders: [join(path, 'text_encoder/model.onnx')],
        denoiser: join(path, 'unet/model.onnx'),
        vaeDecoder: join(path, 'vae_decoder/model.onnx'),
      },
    });
    expect(model.tokenizers.map(({ window }) => window)).toEqual([tokenizer.model_max_length]);
    expect(model.latentShape(64, 64)).toEqual([unet.in_channels, unet.sample_size, unet.sample_size]);
    expect(model.latentShape(96, 32)).toEqual([4, 8, 24]);
  });

  it("gives the reward as the reward's files describe it", async () => {
    const [reward] = rewards;
    const card = await readJson('stickers-reward/findery.json');
    const processor = await readJson('stickers-reward/preprocessor_config.json');
    expect(reward).toMatchObject({
      title: card.title,
      licence: card.licence,
      reads: card.reads,
      range: card.range,
      preprocessing: {
        resize: { shortestEdge: 64 },
        resample: 'bicubic',
        crop: processor.crop_size,
        rescaleFactor: processor.rescale_factor,
        mean: processor.image_mean,
        std: processor.image_std,
      },
      graph: join(EMBEDDED, 'stickers-reward/model.onnx'),
    });
    expect((reward as GraphReward).tokenizer?.window).toBe(24);
  });
});

describe('a bundle without our card', () => {
  it('is a model by its model_index.json, with the defaults of its configs', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    const [model] = (await readCatalog([folder])).models;
    expect(model).toMatchObject({
      title: 'stickers',
      licence: null,
      sizes: null,
      defaults: { scheduler: 'ddim', steps: 50, guidanceScale: 7.5, width: 64, height: 64, reward: null },
    });
  });

  it('falls back to DPM-Solver++ where the scheduler it ships with is unknown', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    await changeJson('stickers/scheduler/scheduler_config.json', { _class_name: 'HeunDiscreteScheduler' });
    expect((await readCatalog([folder])).models[0].defaults.scheduler).toBe('dpmsolver++');
  });

  it('has the steps and the guidance that few-step models need', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    const turbo = { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' };
    await changeJson('stickers/scheduler/scheduler_config.json', turbo);
    const defaults = async () => (await readCatalog([folder])).models[0].defaults;
    expect(await defaults()).toMatchObject({ scheduler: 'euler', steps: 1, guidanceScale: 0 });
    await changeJson('stickers/unet/config.json', { time_cond_proj_dim: 256 });
    expect(await defaults()).toMatchObject({ steps: 4, guidanceScale: 8.5 });
  });

  it('is a reward by its preprocessor_config.json, and reads text when it has a tokenizer', async () => {
    await rm(join(folder, 'stickers-reward/findery.json'));
    expect((await readCatalog([folder])).rewards[0].reads).toEqual(['image', 'text']);
    await rm(join(folder, 'stickers-reward/vocab.json'));
    const [reward] = (await readCatalog([folder])).rewards;
    expect(reward).toMatchObject({ reads: ['image'], tokenizer: null, range: null });
  });

  it('is nothing at all when it has neither', async () => {
    await mkdir(join(folder, 'notes'));
    await writeFile(join(folder, 'notes/model.onnx'), new Uint8Array(1000));
    const { models, rewards, problems } = await readCatalog([folder]);
    expect([models.length, rewards.filter(({ path }) => path).length, problems.length]).toEqual([1, 1, 0]);
  });
});

describe('a damaged bundle is a problem that says what to do, and the others load', () => {
  const files: ['model' | 'reward', string][] = [
    ['model', 'model_index.json'],
    ['model', 'scheduler/scheduler_config.json'],
    ['model', 'unet/config.json'],
    ['model', 'unet/model.onnx'],
    ['model', 'vae_decoder/config.json'],
    ['model', 'vae_decoder/model.onnx'],
    ['model', 'text_encoder/model.onnx'],
    ['model', 'tokenizer/vocab.json'],
    ['model', 'tokenizer/merges.txt'],
    ['reward', 'preprocessor_config.json'],
    ['reward', 'model.onnx'],
    ['reward', 'vocab.json'],
    ['reward', 'merges.txt'],
  ];
  const folderOf = (kind: 'model' | 'reward') => (kind === 'model' ? 'stickers' : 'stickers-reward');

  it.each(files)('%s: %s is missing', async (kind, file) => {
    await rm(join(folder, folderOf(kind), file));
    const message = await readProblem(kind);
    expect(message).toContain(file);
    expect(message).toMatch(/is missing; export the model again, or copy the whole folder/);
  });

  it.each(
    [
      ...files,
      ['model', 'findery.json'] as const,
      ['model', 'tokenizer/tokenizer_config.json'] as const,
    ].filter(([, file]) => file.endsWith('.json')),
  )('%s: %s is not JSON', async (kind, file) => {
    const path = join(folder, folderOf(kind), file);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.slice(0, text.length / 2));
    const message = await readProblem(kind);
    expect(message).toContain(`${file} is not JSON`);
    expect(message).toContain('copy the file again');
  });

  it.each(files.filter(([, file]) => file.endsWith('.json')))(
    '%s: %s is JSON of another kind',
    async (kind, file) => {
      await writeFile(join(folder, folderOf(kind), file), '[]');
      expect(await readProblem(kind)).toContain(`${file} holds no JSON object; copy the file again`);
    },
  );

  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 23977759\n`;
  it.each(
    files
      .filter(([, file]) => file.endsWith('.onnx'))
      .flatMap(([kind, file]) => [
        [kind, file, 'empty', ''] as const,
        [kind, file, 'a pointer of Git LFS', pointer] as const,
      ]),
  )('%s: %s is %s', async (kind, file, _, text) => {
    await writeFile(join(folder, folderOf(kind), file), text);
    const message = await readProblem(kind);
    expect(message).toContain(`${file} has only ${text.length} bytes`);
    expect(message).toMatch(/Git LFS.*copy the file again/);
  });

  it.each(['bos', 'eos'])('the vocabulary has no %s token', async (which) => {
    const { [`${which}_token`]: token } = await readJson('stickers/tokenizer/tokenizer_config.json');
    const { [String(token)]: _, ...vocab } = await readJson('stickers/tokenizer/vocab.json');
    await writeFile(join(folder, 'stickers/tokenizer/vocab.json'), JSON.stringify(vocab));
    const message = await readProblem('model');
    expect(message).toContain(`vocab.json has no token "${token}"`);
    expect(message).toContain('tokenizer_config.json names; copy both files again');
  });

  it.each([
    ['stickers/vae_decoder/config.json', 'scaling_factor', '1'],
    ['stickers/vae_decoder/config.json', 'latent_channels', null],
    ['stickers/vae_decoder/config.json', 'block_out_channels', []],
    ['stickers/findery.json', 'sizes', [[64]]],
  ])('%s has %s %j', async (path, key, value) => {
    await changeJson(path, { [key]: value });
    const message = await readProblem('model');
    expect(message).toContain(path.slice('stickers/'.length));
    expect(message).toContain(`"${key}"`);
  });

  it.each([
    ['resample', 4, '2 (bilinear) and 3 (bicubic)'],
    ['size', {}, 'longest_edge, or width and height'],
    ['size', { shortest_edge: 64, longest_edge: 64 }, 'longest_edge, or width and height'],
    ['image_mean', [0.5], 'three numbers'],
    ['image_std', undefined, 'three numbers'],
  ])('preprocessor_config.json has %s %j', async (key, value, accepted) => {
    await changeJson('stickers-reward/preprocessor_config.json', { [key]: value });
    const message = await readProblem('reward');
    expect(message).toContain(`preprocessor_config.json has ${key} ${JSON.stringify(value)}`);
    expect(message).toContain(accepted);
  });

  it.each([
    [{ transformer: ['diffusers', 'PixArtTransformer2DModel'] }, 'the transformer PixArtTransformer2DModel'],
    [{ unet: [null, null] }, 'neither a "unet" nor a "transformer"'],
    [{ text_encoder: [null, null] }, 'no "text_encoder"'],
    [
      { text_encoder: [null, null], text_encoder_2: ['transformers', 'CLIPTextModel'] },
      'lacks "text_encoder"',
    ],
    [{ requires_aesthetics_score: true }, 'a refiner'],
  ])('it is a pipeline of a family that can not be run: %j', async (changes, named) => {
    await changeJson('stickers/model_index.json', changes);
    const message = await readProblem('model');
    expect(message).toContain(`model_index.json`);
    expect(message).toContain(named);
    expect(message).toContain('stable-diffusion, stable-diffusion-xl, stable-diffusion-3, flux');
  });

  it('it is named as SDXL and lacks the second text encoder', async () => {
    await changeJson('stickers/model_index.json', {
      text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
    });
    expect(await readProblem('model')).toMatch(/(text_encoder_2|tokenizer_2).* is missing/);
  });

  it('it paints over pictures instead of beginning with noise', async () => {
    await changeJson('stickers/unet/config.json', { in_channels: 9 });
    expect(await readProblem('model')).toMatch(/in_channels 9, but latents have 4: a model for inpainting/);
  });

  it('its tokenizer knows more tokens than its text encoder', async () => {
    await changeJson('stickers/text_encoder/config.json', { vocab_size: 700 });
    expect(await readProblem('model')).toMatch(
      /token ids up to 716, but text_encoder\/config.json has embeddings for 700/,
    );
  });

  it.each([
    ['sigma_mni', 0.03, 'no scheduler of diffusers'],
    ['beta_schedule', 'cubic', 'beta_schedule'],
    ['num_train_timesteps', 0, 'num_train_timesteps'],
  ])('its scheduler_config.json has %s %j', async (key, value, named) => {
    await changeJson('stickers/scheduler/scheduler_config.json', { [key]: value });
    const message = await readProblem('model');
    expect(message).toContain('scheduler_config.json');
    expect(message).toContain(key);
    expect(message).toContain(named);
  });
});

describe('files as Python writes them', () => {
  it.each(['Infinity', '-Infinity', 'NaN'])('may hold a bare %s', async (word) => {
    const path = join(folder, 'stickers/scheduler/scheduler_config.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('{', `{\n  "lambda_min_clipped": ${word},\n  "_note": "a: ${word}",`));
    const { models, problems } = await readCatalog([folder]);
    expect(problems).toEqual([]);
    expect(models[0].schedulerConfig).toMatchObject({ _note: `a: ${word}`, beta_start: 0.00085 });
    expect(models[0].schedulerConfig.lambda_min_clipped ?? null).toBeNull();
  });
});

describe('several folders', () => {
  it('give the first of two bundles with one name', async () => {
    const second = join(root, `${copies}-second`);
    await copyBundles(second);
    await cp(join(second, 'stickers'), join(second, 'another'), { recursive: true });
    const { models, rewards } = await readCatalog([folder, second]);
    expect(models.map(({ path }) => path)).toEqual([join(folder, 'stickers'), join(second, 'another')]);
    expect(rewards.map(({ path }) => path)).toEqual([join(folder, 'stickers-reward'), null]);
  });

  it('must all be there', async () => {
    const missing = join(root, 'nowhere');
    const reading = readCatalog([folder, missing]);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(missing);
    await expect(reading).rejects.toThrow('FINDERY_MODELS');
  });

  it('are not confused by files beside the bundles', async () => {
    await writeFile(join(folder, 'README.md'), 'hello');
    expect((await readCatalog([folder])).problems).toEqual([]);
  });
});
