import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { BundleError } from '../../src/bundles/files.ts';
import type { GraphReward } from '../../src/bundles/reward-bundle.ts';
import { BundleCopies, changeJson, EMBEDDED, readJson } from '../support/bundle-copies.ts';

const copies = await BundleCopies.create();
afterAll(() => copies.remove());
let folder = '';
beforeEach(async () => {
  folder = await copies.copy();
});

describe('readCatalog of the embedded bundles', async () => {
  const { models, rewards, problems } = await readCatalog([EMBEDDED]);

  it('finds all bundles without problems', () => {
    expect(problems).toEqual([]);
    expect(models.map(({ name }) => name)).toEqual(['stickers']);
    expect(rewards.map(({ name }) => name)).toEqual(['stickers-reward', 'stickers-unseen', 'jpeg-size']);
  });

  it('reads the model as its files describe it', async () => {
    const [model] = models;
    const card = await readJson(join(EMBEDDED, 'stickers/findery.json'));
    const unet = await readJson(join(EMBEDDED, 'stickers/unet/config.json'));
    const vae = await readJson(join(EMBEDDED, 'stickers/vae_decoder/config.json'));
    const tokenizer = await readJson(join(EMBEDDED, 'stickers/tokenizer/tokenizer_config.json'));
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
      schedulerConfig: await readJson(join(EMBEDDED, 'stickers/scheduler/scheduler_config.json')),
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

  it('reads the reward as its files describe it', async () => {
    const [reward] = rewards;
    const card = await readJson(join(EMBEDDED, 'stickers-reward/findery.json'));
    const processor = await readJson(join(EMBEDDED, 'stickers-reward/preprocessor_config.json'));
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

describe('a folder without findery.json', () => {
  it('is a model if it has model_index.json, with the defaults of its configs', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    const [model] = (await readCatalog([folder])).models;
    expect(model).toMatchObject({
      title: 'stickers',
      licence: null,
      sizes: null,
      defaults: { scheduler: 'ddim', steps: 50, guidanceScale: 7.5, width: 64, height: 64, reward: null },
    });
  });

  it('is a model with DPM-Solver++ if its own scheduler is not supported', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    await changeJson(join(folder, 'stickers/scheduler/scheduler_config.json'), {
      _class_name: 'HeunDiscreteScheduler',
    });
    expect((await readCatalog([folder])).models[0].defaults.scheduler).toBe('dpmsolver++');
  });

  it('is a model with few steps if its configs show a distilled model', async () => {
    await rm(join(folder, 'stickers/findery.json'));
    const turbo = { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' };
    await changeJson(join(folder, 'stickers/scheduler/scheduler_config.json'), turbo);
    const defaults = async () => (await readCatalog([folder])).models[0].defaults;
    expect(await defaults()).toMatchObject({ scheduler: 'euler', steps: 1, guidanceScale: 0 });
    await changeJson(join(folder, 'stickers/unet/config.json'), { time_cond_proj_dim: 256 });
    expect(await defaults()).toMatchObject({ steps: 4, guidanceScale: 8.5 });
  });

  it('is a reward if it has preprocessor_config.json, and reads text if it has a tokenizer', async () => {
    await rm(join(folder, 'stickers-reward/findery.json'));
    expect((await readCatalog([folder])).rewards[0].reads).toEqual(['image', 'text']);
    await rm(join(folder, 'stickers-reward/vocab.json'));
    const [reward] = (await readCatalog([folder])).rewards;
    expect(reward).toMatchObject({ reads: ['image'], tokenizer: null, range: null });
  });

  it('is no bundle if it has neither', async () => {
    await mkdir(join(folder, 'notes'));
    await writeFile(join(folder, 'notes/model.onnx'), new Uint8Array(1000));
    const { models, rewards, problems } = await readCatalog([folder]);
    expect([models.length, rewards.filter(({ path }) => path).length, problems.length]).toEqual([1, 1, 0]);
  });
});

describe('a JSON file written by Python', () => {
  const edit = async (insert: string) => {
    const path = join(folder, 'stickers/scheduler/scheduler_config.json');
    const text = (await readFile(path, 'utf8')).replace(/"beta_start": [^,]+,/, '');
    await writeFile(path, text.replace('{', `{\n  ${insert},`));
    return readCatalog([folder]);
  };

  it.each([
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['NaN', Number.NaN],
  ])('may contain a bare %s', async (word, value) => {
    const written = `"_value": ${word}, "_note": "a: ${word}", "lambda_min_clipped": -Infinity`;
    const { models, problems } = await edit(written);
    expect(problems).toEqual([]);
    expect(models[0].schedulerConfig).toMatchObject({ _note: `a: ${word}`, _value: value });
  });

  it.each(['NaN', 'Infinity', '-Infinity', '1e999'])('is refused by name where %s is used', async (word) => {
    const { problems } = await edit(`"beta_start": ${word}`);
    expect(problems).toEqual([
      expect.objectContaining({
        message: expect.stringMatching(/beta_start.* is (NaN|-?Infinity);.*0 to 1/),
      }),
    ]);
  });

  it('is refused by name where it can not be meant', async () => {
    const { problems } = await edit('"lambda_min_clipped": NaN');
    expect(problems[0].message).toMatch(/lambda_min_clipped .* is NaN/);
  });

  it('is refused where the size of pictures is not finite', async () => {
    const path = join(folder, 'stickers/unet/config.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(/"sample_size": \d+/, '"sample_size": NaN'));
    expect((await readCatalog([folder])).problems).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/NaN where a number is needed/) }),
    ]);
  });
});

describe('a scheduler that findery does not have', () => {
  /** Gives the model another scheduler, and its card this default scheduler. */
  const useClass = async (name: string, chosen?: string) => {
    const card = join(folder, 'stickers/findery.json');
    const { defaults, ...rest } = JSON.parse(await readFile(card, 'utf8'));
    await writeFile(card, JSON.stringify({ ...rest, defaults: { ...defaults, scheduler: chosen } }));
    const path = join(folder, 'stickers/scheduler/scheduler_config.json');
    const config = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...config, _class_name: name }));
  };
  const classes = ['DEISMultistep', 'HeunDiscrete', 'LMSDiscrete', 'DDPM', 'SASolver'];

  it.each(classes)('is replaced by DPM-Solver++, and named: %s', async (name) => {
    await useClass(`${name}Scheduler`);
    const { models } = await readCatalog([folder]);
    expect(models[0]).toMatchObject({
      defaults: { scheduler: 'dpmsolver++' },
      replacedScheduler: `${name}Scheduler`,
    });
  });

  it('is not named where the card chooses, or for one that findery has', async () => {
    await useClass('DDPMScheduler', 'ddim');
    expect((await readCatalog([folder])).models[0].replacedScheduler).toBeNull();
    await useClass('DDIMScheduler');
    expect((await readCatalog([folder])).models[0].replacedScheduler).toBeNull();
  });
});

describe('readCatalog of several folders', () => {
  it('uses the first of two bundles with the same name', async () => {
    const second = await copies.copy();
    await cp(join(second, 'stickers'), join(second, 'another'), { recursive: true });
    const { models, rewards } = await readCatalog([folder, second]);
    expect(models.map(({ path }) => path)).toEqual([join(folder, 'stickers'), join(second, 'another')]);
    expect(rewards.map(({ path }) => path)).toEqual([join(folder, 'stickers-reward'), null]);
  });

  it('rejects if a folder is missing', async () => {
    const missing = join(copies.root, 'nowhere');
    const reading = readCatalog([folder, missing]);
    await expect(reading).rejects.toThrow(BundleError);
    await expect(reading).rejects.toThrow(missing);
    await expect(reading).rejects.toThrow('FINDERY_MODELS');
  });

  it('ignores files beside the bundles', async () => {
    await writeFile(join(folder, 'README.md'), 'hello');
    expect((await readCatalog([folder])).problems).toEqual([]);
  });
});
