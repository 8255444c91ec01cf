import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import { BundleCopies, changeJson, readJson } from '../support/bundle-copies.ts';

const copies = await BundleCopies.create();
afterAll(() => copies.remove());
let folder = '';
beforeEach(async () => {
  folder = await copies.copy();
});

/** The only problem of the folder; the other bundle must not be affected. */
async function readProblem(kind: 'model' | 'reward'): Promise<string> {
  const { models, rewards, problems } = await readCatalog([folder]);
  const damaged = kind === 'model' ? 'stickers' : 'stickers-reward';
  expect(problems).toMatchObject([{ name: damaged, kind, path: join(folder, damaged) }]);
  const inFolders = [...models, ...rewards].filter(({ path }) => path !== null);
  expect(inFolders.map(({ name }) => name)).toEqual([kind === 'model' ? 'stickers-reward' : 'stickers']);
  expect(problems[0].message).toMatch(/\.$/);
  return problems[0].message;
}

describe('a damaged bundle is a problem that says what to do', () => {
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
    '%s: %s is JSON, but no object',
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

  it.each(['bos', 'eos'])('the vocabulary lacks the %s token', async (which) => {
    const { [`${which}_token`]: token } = await readJson(
      join(folder, 'stickers/tokenizer/tokenizer_config.json'),
    );
    const { [String(token)]: _, ...vocab } = await readJson(join(folder, 'stickers/tokenizer/vocab.json'));
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
    await changeJson(join(folder, path), { [key]: value });
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
    await changeJson(join(folder, 'stickers-reward/preprocessor_config.json'), { [key]: value });
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
  ])('the family of the pipeline is not supported: %j', async (changes, named) => {
    await changeJson(join(folder, 'stickers/model_index.json'), changes);
    const message = await readProblem('model');
    expect(message).toContain(`model_index.json`);
    expect(message).toContain(named);
    expect(message).toContain('stable-diffusion, stable-diffusion-xl, stable-diffusion-3, flux');
  });

  it('the pipeline is SDXL, but the second text encoder is missing', async () => {
    await changeJson(join(folder, 'stickers/model_index.json'), {
      text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
    });
    expect(await readProblem('model')).toMatch(/(text_encoder_2|tokenizer_2).* is missing/);
  });

  it('the denoiser is for inpainting', async () => {
    await changeJson(join(folder, 'stickers/unet/config.json'), { in_channels: 9 });
    expect(await readProblem('model')).toMatch(/in_channels 9, but latents have 4: a model for inpainting/);
  });

  it('the tokenizer has more tokens than the text encoder', async () => {
    await changeJson(join(folder, 'stickers/text_encoder/config.json'), { vocab_size: 700 });
    expect(await readProblem('model')).toMatch(
      /token ids up to 716, but text_encoder\/config.json has embeddings for 700/,
    );
  });

  it.each([
    ['sigma_mni', 0.03, 'no scheduler of diffusers'],
    ['beta_schedule', 'cubic', 'beta_schedule'],
    ['num_train_timesteps', 0, 'num_train_timesteps'],
  ])('scheduler_config.json has %s %j', async (key, value, named) => {
    await changeJson(join(folder, 'stickers/scheduler/scheduler_config.json'), { [key]: value });
    const message = await readProblem('model');
    expect(message).toContain('scheduler_config.json');
    expect(message).toContain(key);
    expect(message).toContain(named);
  });
});
