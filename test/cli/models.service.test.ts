import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assemble } from '../support/family-fixtures.ts';

/** The command line as it is used, in a process of its own. */
const ROOT = join(import.meta.dirname, '..', '..');
const FINDERY = join(ROOT, 'bin', 'findery');
const FIXTURES = join(ROOT, 'test', 'fixtures', 'families');

let folder: string;
let models: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-cli-'));
  models = join(folder, 'models');
  await mkdir(models);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  readonly status: number;
  readonly said: string;
}

function run(command: string, args: readonly string[]): Promise<Outcome> {
  const env = { ...process.env, FINDERY_MODELS: models, FINDERY_DATA: join(folder, 'data') };
  return new Promise((resolve) => {
    execFile(command, args, { env }, (error, stdout, stderr) => {
      const said = `${stdout}${stderr}`;
      expect(said).not.toMatch(/\n\s+at .*\.ts:\d+/); // no stack trace
      resolve({ status: error ? Number(error.code) : 0, said });
    });
  });
}

const findery = (...args: string[]) => run(FINDERY, args);

/** A bundle outside of the models folder. */
function bundle(name = 'sd15'): string {
  assemble(name, folder);
  return join(folder, name);
}

/** The same with the VAE's weights beside its graph. */
function bundleWithWeightsBeside(): string {
  const path = bundle();
  copyFileSync(
    join(FIXTURES, 'sd15-variants', 'vae_decoder-external.onnx'),
    join(path, 'vae_decoder', 'model.onnx'),
  );
  copyFileSync(
    join(FIXTURES, 'sd15-variants', 'model.onnx_data'),
    join(path, 'vae_decoder', 'model.onnx_data'),
  );
  return path;
}

describe('findery', () => {
  it('without a command tells what there is', async () => {
    expect(await findery()).toMatchObject({ status: 2, said: expect.stringMatching(/models .*\n.*workers/) });
    expect(await findery('--help')).toMatchObject({ status: 0 });
    expect(await findery('model')).toMatchObject({
      status: 2,
      said: expect.stringContaining('no command "model"'),
    });
  });

  it.each([
    [['models'], 'list, check, add or remove'],
    [['models', 'drop'], 'no "models drop"'],
    [['models', 'add'], 'needs a name or a path'],
    [['models', 'list', '--yes'], 'takes no --yes'],
    [['models', 'list', '--what'], '--what'],
    [['models', 'check', 'a', 'b'], 'one word too many'],
    [['workers', '--url', 'nowhere'], 'is no address'],
  ])('%s is refused with its usage', async (args, words) => {
    const { status, said } = await findery(...args);
    expect(status).toBe(2);
    expect(said).toContain(words);
    expect(said).toContain('Usage: findery');
  });

  it('workers of a service that is not there', async () => {
    const { status, said } = await findery('workers', '--url', 'http://127.0.0.1:9');
    expect(status).toBe(1);
    expect(said).toMatch(/No service answers at http:\/\/127\.0\.0\.1:9.*npm start/);
  });
});

describe('findery models', () => {
  it('adds a bundle after a check, lists it and removes it', async () => {
    const path = bundle();
    const added = await findery('models', 'add', path, '--name', 'mine');
    expect(added, added.said).toMatchObject({
      status: 0,
      said: expect.stringContaining('running services see it now'),
    });
    expect(await readdir(models)).toEqual(['mine']);
    const listed = await findery('models', 'list', '--json');
    const found = (JSON.parse(listed.said) as { name: string }[]).find(({ name }) => name === 'mine');
    expect(found).toMatchObject({
      kind: 'model',
      type: 'stable-diffusion',
      scheduler: 'pndm',
      problem: null,
    });
    expect((await findery('models', 'list')).said).toMatch(
      /mine +model +stable-diffusion +pndm +64x64 .*usable/,
    );
    expect((await findery('models', 'check', 'mine')).said).toMatch(
      /a picture of 64x64 in 2 steps[\s\S]*mine is sound/,
    );
    const again = await findery('models', 'add', path, '--name', 'mine');
    expect(again).toMatchObject({ status: 1, said: expect.stringContaining('is there already') });
    expect(await findery('models', 'remove', 'mine')).toMatchObject({
      status: 1,
      said: expect.stringContaining('--yes'),
    });
    expect(await findery('models', 'remove', 'mine', '--yes')).toMatchObject({ status: 0 });
    expect(await readdir(models)).toEqual([]);
  });

  it('checks a reward on a real picture', async () => {
    const { status, said } = await findery('models', 'check', 'stickers-reward');
    expect(status, said).toBe(0);
    expect(said).toMatch(/reads image and text; a picture of 2 steps scores -?\d/);
  });

  it('takes a bundle as optimum writes it: weights beside the graphs, a VAE encoder, a scalar timestep, no card', async () => {
    const path = bundleWithWeightsBeside();
    copyFileSync(
      join(FIXTURES, 'sd15-variants', 'unet-int64-timestep.onnx'),
      join(path, 'unet', 'model.onnx'),
    );
    await cp(join(path, 'vae_decoder'), join(path, 'vae_encoder'), { recursive: true });
    await rm(join(path, 'findery.json'), { force: true });
    const { status, said } = await findery('models', 'add', path);
    expect(status, said).toBe(0);
    expect(existsSync(join(models, 'sd15', 'vae_decoder', 'model.onnx_data'))).toBe(true);
  });

  it('copies what links point at, as downloads in the cache of Hugging Face have them', async () => {
    const path = bundle();
    await cp(join(path, 'unet', 'model.onnx'), join(folder, 'blob'));
    await rm(join(path, 'unet', 'model.onnx'));
    symlinkSync(join(folder, 'blob'), join(path, 'unet', 'model.onnx'));
    // As it lies there its link leads out of every models folder.
    const checked = await findery('models', 'check', path);
    expect(checked).toMatchObject({ status: 0 });
    symlinkSync('/etc/hostname', join(path, 'unet', 'notes.txt'));
    const refused = await findery('models', 'check', path);
    expect(refused).toMatchObject({
      status: 1,
      said: expect.stringMatching(/unet\/notes\.txt is a link to .*outside/),
    });
    await rm(join(path, 'unet', 'notes.txt'));
    expect(await findery('models', 'add', path)).toMatchObject({ status: 0 });
    await rm(join(folder, 'blob'));
    expect((await findery('models', 'check', 'sd15')).status).toBe(0);
  });
});

describe('findery models check says what is wrong with', () => {
  const edit = (path: string, change: (config: Record<string, unknown>) => object) =>
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))));
  const damages: [string, (path: string) => void | Promise<void>, RegExp][] = [
    [
      'a graph that was cut off',
      (path) => truncateSync(join(path, 'unet', 'model.onnx'), 20_000),
      /unet\/model\.onnx can't be opened .* if it is damaged/,
    ],
    [
      'a graph that is missing',
      (path) => rm(join(path, 'unet', 'model.onnx')),
      /unet\/model\.onnx is missing; export the model again/,
    ],
    [
      'a pointer of Git LFS',
      (path) =>
        writeFileSync(join(path, 'unet', 'model.onnx'), 'version https://git-lfs.github.com/spec/v1\n'),
      /unet\/model\.onnx has only 43 bytes.*Git LFS/,
    ],
    [
      'weights that were cut off',
      (path) => truncateSync(join(path, 'vae_decoder', 'model.onnx_data'), 5000),
      /vae_decoder\/model\.onnx can't be opened/,
    ],
    [
      'weights that are missing',
      (path) => rm(join(path, 'vae_decoder', 'model.onnx_data')),
      /vae_decoder\/model\.onnx keeps its weights in model\.onnx_data, which is not beside it; copy the whole folder/,
    ],
    [
      'weights outside of the bundle',
      (path) => {
        const graph = join(path, 'vae_decoder', 'model.onnx');
        // The same length, so that the file stays sound.
        writeFileSync(
          graph,
          readFileSync(graph, 'latin1').replaceAll('model.onnx_data', '../../../secret'),
          'latin1',
        );
      },
      /takes its weights from \.\.\/\.\.\/\.\.\/secret, outside of its own folder/,
    ],
    [
      'a config of another resolution',
      (path) => edit(join(path, 'unet', 'config.json'), (config) => ({ ...config, sample_size: 63 })),
      /504.*multiples? of 16/s,
    ],
    [
      'a tokenizer of another model',
      (path) => edit(join(path, 'text_encoder', 'config.json'), (config) => ({ ...config, vocab_size: 100 })),
      /the tokenizer is another model's/,
    ],
    [
      'an inpainting model',
      (path) => edit(join(path, 'unet', 'config.json'), (config) => ({ ...config, in_channels: 9 })),
      /in_channels 9.*inpainting/,
    ],
  ];

  it.each(damages)('%s', async (_name, damage, words) => {
    const path = bundleWithWeightsBeside();
    await damage(path);
    const [{ status, said }, added] = await Promise.all([
      findery('models', 'check', path),
      findery('models', 'add', path),
    ]);
    expect(status, said).toBe(1);
    expect(said).toMatch(words);
    expect(added.status, added.said).toBe(1);
    expect(await readdir(models)).toEqual([]);
  });

  it('a VAE in float16 that overflows', async () => {
    const path = bundle('sd15-fp16');
    edit(join(path, 'vae_decoder', 'config.json'), (config) => ({ ...config, scaling_factor: 1e-5 }));
    const { status, said } = await findery('models', 'check', path);
    expect(status, said).toBe(1);
    expect(said).toMatch(/overflows in float16: it made a picture with NaN in it.*--vae-dtype fp32/);
  });
});

describe('findery models add refuses', () => {
  it.each([
    ['a path that is not there', () => join(folder, 'no'), /is not there/],
    ['a folder that is no bundle', () => folder, /is no bundle: it has neither model_index\.json/],
    ['a name with a path in it', () => bundle(), /is no name for a bundle/, ['--name', '../evil']],
    ['a hidden name', () => bundle(), /is no name for a bundle/, ['--name', '.evil']],
  ])('%s', async (_name, path, words, more: string[] = []) => {
    const { status, said } = await findery('models', 'add', path(), ...more);
    expect(status).toBe(1);
    expect(said).toMatch(words);
    expect(await readdir(models)).toEqual([]);
  });

  it('a checkpoint, with the command that makes a bundle of it', async () => {
    const path = join(folder, 'dream shaper.safetensors');
    writeFileSync(path, 'x');
    const { status, said } = await findery('models', 'add', path);
    expect(status).toBe(1);
    expect(said).toContain(
      `python tools/export/import_checkpoint.py ${path} ${join(models, 'dream-shaper')}`,
    );
  });

  it('a bundle that services see already', async () => {
    assemble('sd15', models);
    const { status, said } = await findery('models', 'add', join(models, 'sd15'), '--name', 'twice');
    expect(status).toBe(1);
    expect(said).toContain('in a models folder already');
  });

  it('a disk that fills up half way, and leaves nothing there', async () => {
    const path = bundle();
    // A limit on the size of files stands for the end of the disk; `trap` keeps the system from ending the process.
    const script = `trap '' XFSZ; ulimit -f 200; exec "$0" models add "$1" --unchecked`;
    const { status, said } = await run('/bin/sh', ['-c', script, FINDERY, path]);
    expect(status, said).toBe(1);
    expect(said).toMatch(
      /was not made: the disk of .* is full\. Free some space and run the same command again/,
    );
    expect(await readdir(models)).toEqual([]);
  });
});

describe('findery models remove refuses', () => {
  it.each([
    ['../models', /is no name of a bundle/],
    ['.hidden', /is no name of a bundle/],
    ['nothing', /There is no bundle "nothing"/],
    ['stickers', /one of the embedded bundles/],
  ])('%s', async (name, words) => {
    const { status, said } = await findery('models', 'remove', name, '--yes');
    expect(status).toBe(1);
    expect(said).toMatch(words);
  });

  it('to follow a link: it removes the link alone', async () => {
    const path = bundle();
    symlinkSync(path, join(models, 'linked'));
    expect((await findery('models', 'list')).said).toMatch(
      /linked: the folder is a link to .*findery models add/,
    );
    expect(await findery('models', 'remove', 'linked', '--yes')).toMatchObject({ status: 0 });
    expect(await readdir(models)).toEqual([]);
    expect(existsSync(join(path, 'unet', 'model.onnx'))).toBe(true);
  });
});
