import { copyFileSync, existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FINDERY, useCommandLine, VARIANTS } from '../support/command-line.ts';
import { assemble } from '../support/family-fixtures.ts';

const cli = useCommandLine();

describe('findery models', () => {
  it('adds a bundle after checking it, lists it and removes it', async () => {
    const path = cli.bundle();
    const added = await cli.findery('models', 'add', path, '--name', 'mine');
    expect(added, added.output).toMatchObject({
      status: 0,
      output: expect.stringContaining('running services can use it now'),
    });
    expect(await readdir(cli.models)).toEqual(['mine']);
    const listed = await cli.findery('models', 'list', '--json');
    const found = (JSON.parse(listed.output) as { name: string }[]).find(({ name }) => name === 'mine');
    expect(found).toMatchObject({
      kind: 'model',
      type: 'stable-diffusion',
      scheduler: 'pndm',
      problem: null,
    });
    expect((await cli.findery('models', 'list')).output).toMatch(
      /mine +model +stable-diffusion +pndm +64x64 .*usable/,
    );
    expect((await cli.findery('models', 'check', 'mine')).output).toMatch(
      /a picture of 64x64 in 2 steps[\s\S]*mine works/,
    );
    const again = await cli.findery('models', 'add', path, '--name', 'mine');
    expect(again).toMatchObject({ status: 1, output: expect.stringContaining('mine exists already') });
    expect(await cli.findery('models', 'remove', 'mine')).toMatchObject({
      status: 1,
      output: expect.stringContaining('--yes'),
    });
    expect(await cli.findery('models', 'remove', 'mine', '--yes')).toMatchObject({ status: 0 });
    expect(await readdir(cli.models)).toEqual([]);
  });

  it('checks a reward with a picture', async () => {
    const { status, output } = await cli.findery('models', 'check', 'stickers-reward');
    expect(status, output).toBe(0);
    expect(output).toMatch(/reads image and text; a picture of 2 steps scores -?\d/);
  });

  it('adds a bundle of optimum: external weights, a VAE encoder, a scalar timestep, no card', async () => {
    const path = cli.bundleWithExternalWeights();
    copyFileSync(join(VARIANTS, 'unet-int64-timestep.onnx'), join(path, 'unet', 'model.onnx'));
    await cp(join(path, 'vae_decoder'), join(path, 'vae_encoder'), { recursive: true });
    await rm(join(path, 'findery.json'), { force: true });
    const { status, output } = await cli.findery('models', 'add', path);
    expect(status, output).toBe(0);
    expect(existsSync(join(cli.models, 'sd15', 'vae_decoder', 'model.onnx_data'))).toBe(true);
  });

  it('copies the targets of links, which the cache of Hugging Face consists of', async () => {
    const path = cli.bundle();
    await cp(join(path, 'unet', 'model.onnx'), join(cli.folder, 'blob'));
    await rm(join(path, 'unet', 'model.onnx'));
    symlinkSync(join(cli.folder, 'blob'), join(path, 'unet', 'model.onnx'));
    // In its folder, the link leads out of every models folder.
    const checked = await cli.findery('models', 'check', path);
    expect(checked).toMatchObject({ status: 0 });
    symlinkSync('/etc/hostname', join(path, 'unet', 'notes.txt'));
    const refused = await cli.findery('models', 'check', path);
    expect(refused).toMatchObject({
      status: 1,
      output: expect.stringMatching(/unet\/notes\.txt is a link to .*outside/),
    });
    await rm(join(path, 'unet', 'notes.txt'));
    expect(await cli.findery('models', 'add', path)).toMatchObject({ status: 0 });
    await rm(join(cli.folder, 'blob'));
    expect((await cli.findery('models', 'check', 'sd15')).status).toBe(0);
  });
});

describe('findery models add refuses', () => {
  it.each([
    ['a path that does not exist', () => join(cli.folder, 'no'), /does not exist/],
    ['a folder that is not a bundle', () => cli.folder, /is not a bundle: it has neither model_index\.json/],
    [
      'a name with a path in it',
      () => cli.bundle(),
      /is not a valid name for a bundle/,
      ['--name', '../evil'],
    ],
    ['a hidden name', () => cli.bundle(), /is not a valid name for a bundle/, ['--name', '.evil']],
  ])('%s', async (_name, path, words, more: string[] = []) => {
    const { status, output } = await cli.findery('models', 'add', path(), ...more);
    expect(status).toBe(1);
    expect(output).toMatch(words);
    expect(await readdir(cli.models)).toEqual([]);
  });

  it('a checkpoint, and prints the command that converts it', async () => {
    const path = join(cli.folder, 'dream shaper.safetensors');
    writeFileSync(path, 'x');
    const { status, output } = await cli.findery('models', 'add', path);
    expect(status).toBe(1);
    expect(output).toContain(`findery import ${path} --name dream-shaper`);
  });

  it('a bundle in a models folder', async () => {
    assemble('sd15', cli.models);
    const { status, output } = await cli.findery(
      'models',
      'add',
      join(cli.models, 'sd15'),
      '--name',
      'twice',
    );
    expect(status).toBe(1);
    expect(output).toContain('in a models folder already');
  });

  it('a disk that fills up, and leaves no partial copy', async () => {
    const path = cli.bundle();
    // A limit on the size of files simulates a full disk. `trap` keeps SIGXFSZ from ending the
    // process.
    const script = `trap '' XFSZ; ulimit -f 200; exec "$0" models add "$1" --unchecked`;
    const { status, output } = await cli.run('/bin/sh', ['-c', script, FINDERY, path]);
    expect(status, output).toBe(1);
    expect(output).toMatch(
      /was not created: the disk of .* is full\. Free some space and run the command again/,
    );
    expect(await readdir(cli.models)).toEqual([]);
  });
});

describe('findery models remove refuses', () => {
  it.each([
    ['../models', /is not the name of a bundle/],
    ['.hidden', /is not the name of a bundle/],
    ['nothing', /There is no bundle "nothing"/],
    ['stickers', /one of the embedded bundles/],
  ])('%s', async (name, words) => {
    const { status, output } = await cli.findery('models', 'remove', name, '--yes');
    expect(status).toBe(1);
    expect(output).toMatch(words);
  });

  it('to follow a link: it removes only the link', async () => {
    const path = cli.bundle();
    symlinkSync(path, join(cli.models, 'linked'));
    expect((await cli.findery('models', 'list')).output).toMatch(
      /linked: the folder is a link to .*findery models add/,
    );
    expect(await cli.findery('models', 'remove', 'linked', '--yes')).toMatchObject({ status: 0 });
    expect(await readdir(cli.models)).toEqual([]);
    expect(existsSync(join(path, 'unet', 'model.onnx'))).toBe(true);
  });
});
