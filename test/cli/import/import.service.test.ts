import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ensureEnvironment } from '../../../src/cli/import/python-environment.ts';
import { nameOf } from '../../../src/cli/models/new-bundle.ts';
import { useCommandLine } from '../../support/command-line.ts';
import { makeWheel } from '../../support/wheels.ts';

const HAS_VENV = spawnSync('python3', ['-c', 'import venv, ensurepip']).status === 0;
const cli = useCommandLine();

describe('findery import refuses', () => {
  it.each([
    [[], 2, 'The file or folder to import comes first'],
    [['--dtype', 'fp16'], 2, 'comes first'],
    [['nowhere.safetensors'], 1, 'nowhere.safetensors does not exist'],
    [['FILE', '--name'], 2, '--name needs a value'],
    [['FILE', '--name', '../up'], 1, 'is not a valid name'],
    [['FILE', '--name=stickers'], 1, 'stickers exists already'],
    [['FILE', '--python', 'no-such-python'], 1, 'no program "no-such-python"'],
  ])('%j with a sentence', async (args, expected, words) => {
    const file = join(cli.folder, 'my model.safetensors');
    await writeFile(file, 'x');
    const given = args.map((arg) => (arg === 'FILE' ? file : arg));
    const { status, output } = await cli.findery('import', ...given);
    expect([status, output]).toEqual([expected, expect.stringContaining(words)]);
    expect(existsSync(join(cli.folder, 'data', 'python'))).toBe(false);
  });

  it('names a model by its file', () => {
    expect(nameOf('/a/Dream Shaper (v8).safetensors')).toBe('Dream-Shaper-v8-');
    expect(nameOf('/a/._x.ckpt')).toBe('x');
  });
});

describe.runIf(HAS_VENV)('the Python environment', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'findery-import-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is made once, is completed after a failure, and changes with the pinned packages', async () => {
    const requirements = join(folder, 'requirements.txt');
    const wheels = join(folder, 'wheels');
    const lines: string[] = [];
    const make = () =>
      ensureEnvironment({
        folder: join(folder, 'python'),
        requirements,
        python: 'python3',
        wheels,
        stop: new AbortController().signal,
        print: (line) => lines.push(line),
      });
    const importsToy = (program: string) =>
      spawnSync(program, ['-c', 'import toy; print(toy.NUMBER)'], { encoding: 'utf8' }).stdout.trim();

    makeWheel(wheels, 'other', '1.0', { 'other.py': '' });
    await writeFile(requirements, 'toy==1.0\n');
    await expect(make()).rejects.toThrow(/could not fetch the packages of the importer: it is not there/);
    makeWheel(wheels, 'toy', '1.0', { 'toy.py': 'NUMBER = 7\n' });
    const program = await make();
    expect(importsToy(program)).toBe('7');
    expect(lines).toHaveLength(2);
    await expect(make()).resolves.toBe(program);
    expect(lines).toHaveLength(2);

    await writeFile(requirements, 'toy==1.0 # again\n');
    expect(await make()).not.toBe(program);
  });
});
