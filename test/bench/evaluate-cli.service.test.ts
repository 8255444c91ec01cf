import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readRecords } from '../../bench/evaluate/records.ts';

/** Entry point of `npm run evaluate`. */
const MAIN = join(import.meta.dirname, '..', '..', 'bench', 'evaluate', 'main.ts');
const SMALL = [
  '--prompt',
  'a dog and a cat',
  '--optimizers',
  'best-of-n,elites',
  '--budgets',
  '6',
  '--samples',
  '2',
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-evaluate-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function evaluate(out: string, ...args: string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...SMALL, '--out', join(folder, out), ...args],
      (error, stdout, stderr) =>
        resolve({ status: error ? Number(error.code) : 0, output: `${stdout}${stderr}` }),
    );
  });
}

/** The runs in a file, without the times, which differ from run to run. */
async function measured(out: string): Promise<string[]> {
  const { runs } = await readRecords(join(folder, out, 'quick.jsonl'));
  return runs.map(({ seconds, cpuSeconds, ...run }) => JSON.stringify(run)).sort();
}

it('gives the same results with several processes as with one, and can be continued', async () => {
  expect(await evaluate('several', '--seeds', '1', '--processes', '2')).toMatchObject({ status: 0 });
  expect(await measured('several')).toHaveLength(2);
  const more = await evaluate('several', '--seeds', '1,2', '--processes', '2');
  expect(more).toMatchObject({ status: 0, output: expect.stringContaining('2 of 4 runs exist already') });

  expect(await evaluate('one', '--seeds', '1,2', '--processes', '1')).toMatchObject({ status: 0 });
  const several = await measured('several');
  expect(several).toHaveLength(4);
  expect(several).toEqual(await measured('one'));
});

it('prints the error when its processes do not start', async () => {
  const { status, output } = await evaluate('none', '--processes', '2', '--model', 'nothing-of-this-name');
  expect(status).toBe(1);
  expect(output).toContain('nothing-of-this-name');
  expect(output).not.toMatch(/\n\s+at /);
  await expect(readFile(join(folder, 'none', 'quick.jsonl'))).rejects.toThrow();
});

it('exits at once on SIGINT and leaves complete lines in its file', async () => {
  const out = join(folder, 'stopped');
  const child = spawn(process.execPath, [
    MAIN,
    ...SMALL,
    '--budgets',
    '500',
    '--out',
    out,
    '--processes',
    '2',
  ]);
  await once(child.stderr, 'data'); // the progress bar
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
  expect((await readRecords(join(out, 'quick.jsonl'))).runs).toEqual([]);
});
