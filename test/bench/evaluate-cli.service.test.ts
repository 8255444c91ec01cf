import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readRecords } from '../../bench/evaluate/record.ts';

/** `npm run evaluate`, as it is used, in a process of its own. */
const MAIN = join(import.meta.dirname, '..', '..', 'bench', 'evaluate', 'main.ts');
const SMALL = [
  '--prompt',
  'a dog and a cat',
  '--optimizers',
  'best-of-n,elites',
  '--budgets',
  '6',
  '--draws',
  '2',
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-evaluate-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function evaluate(out: string, ...args: string[]): Promise<{ status: number; said: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...SMALL, '--out', join(folder, out), ...args],
      (error, stdout, stderr) =>
        resolve({ status: error ? Number(error.code) : 0, said: `${stdout}${stderr}` }),
    );
  });
}

/** What was measured, without what another time would be. */
async function measured(out: string): Promise<string[]> {
  const { runs } = await readRecords(join(folder, out, 'quick.jsonl'));
  return runs.map(({ seconds, cpuSeconds, ...run }) => JSON.stringify(run)).sort();
}

it('finds the same in several processes as in one, and goes on where it ended', async () => {
  expect(await evaluate('several', '--seeds', '1', '--processes', '2')).toMatchObject({ status: 0 });
  expect(await measured('several')).toHaveLength(2);
  const more = await evaluate('several', '--seeds', '1,2', '--processes', '2');
  expect(more).toMatchObject({ status: 0, said: expect.stringContaining('2 of 4 runs are there already') });

  expect(await evaluate('one', '--seeds', '1,2', '--processes', '1')).toMatchObject({ status: 0 });
  const several = await measured('several');
  expect(several).toHaveLength(4);
  expect(several).toEqual(await measured('one'));
});

it('ends with what is wrong when its processes can not start', async () => {
  const { status, said } = await evaluate('none', '--processes', '2', '--model', 'nothing-of-this-name');
  expect(status).toBe(1);
  expect(said).toContain('nothing-of-this-name');
  expect(said).not.toMatch(/\n\s+at /);
  await expect(readFile(join(folder, 'none', 'quick.jsonl'))).rejects.toThrow();
});

it('ends at once when it is told to, with whole lines in its file', async () => {
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
  await once(child.stderr, 'data'); // its bar of progress
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
  expect((await readRecords(join(out, 'quick.jsonl'))).runs).toEqual([]);
});
