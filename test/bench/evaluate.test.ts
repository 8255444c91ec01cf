import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { estimate, studentQuantile } from '../../bench/evaluate/estimate.ts';
import { renderEvidence } from '../../bench/evaluate/evidence.ts';
import { parseOptimizer } from '../../bench/evaluate/optimizer-spec.ts';
import { paperTable } from '../../bench/evaluate/paper-table.ts';
import { RecordFile, type Run, readRecords, type Setup } from '../../bench/evaluate/records.ts';
import { cellsOf, SUITES } from '../../bench/evaluate/suites.ts';
import { pairedDifference, rowsOf } from '../../bench/evaluate/tables.ts';
import { targetTable } from '../../bench/evaluate/target-table.ts';

const SETUP: Setup = {
  type: 'setup',
  suite: 'quick',
  model: 'stickers',
  reward: 'stickers-reward',
  unseen: 'stickers-unseen',
  sampler: { scheduler: 'dpmsolver++', steps: 12, guidanceScale: 4, eta: 0 },
  draws: 2,
};

const run = (optimizer: string, prompt: string, learned: number, more: Partial<Run> = {}): Run => ({
  type: 'run',
  prompt,
  optimizer,
  seed: 1,
  budget: 150,
  base: 0,
  learned,
  success: 0.5,
  diversity: 0.8,
  norm: 1,
  unseenBase: [-1, -1],
  unseenLearned: [1, -1],
  search: [learned, 0.5],
  seconds: 70,
  cpuSeconds: 60,
  ...more,
});

describe('estimate', () => {
  it("has Student's quantiles", () => {
    // Tables: t(0.975; 3) = 3.182, (5) = 2.571, (17) = 2.110, (100) = 1.984.
    for (const [freedom, quantile] of [
      [1, 12.706],
      [2, 4.303],
      [3, 3.182],
      [5, 2.571],
      [17, 2.11],
      [100, 1.984],
    ])
      expect(studentQuantile(freedom)).toBeCloseTo(quantile, 2);
  });

  it('gives the mean and half the width of its interval, and no width for a single value', () => {
    const { mean, halfWidth } = estimate([1, 2, 3, 4]);
    expect(mean).toBe(2.5);
    expect(halfWidth).toBeCloseTo(3.182 * (1.2909944 / 2), 2);
    expect(estimate([7])).toMatchObject({ mean: 7, halfWidth: null });
  });
});

describe('records', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'findery-evaluate-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('can be continued, even after an incomplete line', async () => {
    const file = join(folder, 'quick.jsonl');
    const first = await RecordFile.open(file, SETUP);
    await first.add(run('find', 'a', 0.1));
    await appendFile(file, '{"type":"run","prompt":"b","optim');
    const again = await RecordFile.open(file, SETUP);
    expect(again.has(run('find', 'a', 0))).toBe(true);
    expect(again.has(run('find', 'b', 0))).toBe(false);
    await again.add(run('find', 'b', 0.2));
    expect((await readRecords(file)).runs.map(({ prompt }) => prompt)).toEqual(['a', 'b']);
  });

  it('refuse another setup, and a damaged line in the middle', async () => {
    const file = join(folder, 'quick.jsonl');
    const records = await RecordFile.open(file, SETUP);
    await expect(RecordFile.open(file, { ...SETUP, draws: 3 })).rejects.toThrow(/has another setup/);
    await appendFile(file, '{"type":\n');
    await records.add(run('find', 'a', 0.1));
    await expect(RecordFile.open(file, SETUP)).rejects.toThrow(/line 2, is not JSON/);
  });
});

describe('suites', () => {
  it.each(Object.entries(SUITES))('%s: all cells differ, and all optimizers exist', (_, suite) => {
    const cells = cellsOf(suite).map((cell) => JSON.stringify(cell));
    expect(new Set(cells).size).toBe(cells.length);
    expect(cells.length).toBe(
      suite.prompts.length * suite.seeds.length * suite.budgets.length * suite.optimizers.length,
    );
    for (const optimizer of suite.optimizers) expect(() => parseOptimizer(optimizer)).not.toThrow();
  });

  it('full: compares 45 different prompts, as the paper does', () => {
    expect(new Set(SUITES.full.prompts).size).toBe(45);
    expect(SUITES.full.samples).toBe(10);
  });
});

describe('reports', () => {
  const runs = [
    run('find', 'a', 0.1),
    run('find', 'b', 0.3),
    run('gp', 'a', 1.1),
    run('gp', 'b', 1.5),
    run('best-of-n', 'a', 0, { search: [0.2, 1.4] }),
    run('best-of-n', 'b', 0, { search: [1.6, 0.1] }),
  ];
  const records = { setup: SETUP, runs };

  it('pair runs of the same prompt and seed', () => {
    const difference = pairedDifference(records, 'gp', 'find', 150);
    expect(difference?.mean).toBeCloseTo(1.1);
    expect(difference?.standardError).toBeCloseTo(0.1);
    expect(rowsOf(records).find(({ optimizer }) => optimizer === 'best-of-n')?.bestGain.mean).toBeCloseTo(
      1.5,
    );
  });

  it('show which targets are missed', () => {
    const text = targetTable(records, 'gp');
    expect(text).toContain('| gain, against 5 x `find` | 1.30 | 5 x 0.20 | yes |');
    expect(text).toContain("| gain, against the best image of `best-of-n`'s search | 1.30 | 1.50 | **no** |");
    expect(text).toContain('| obeying pictures, percentage points | 50.00 | 20 | yes |');
  });

  it('begin the table of the paper with the base and end it with the default optimizer', () => {
    const lines = paperTable({ setup: SETUP, runs: [...runs.slice(0, 4), run('dpok', 'a', -0.1)] }).split(
      '\n',
    );
    expect(lines.slice(2).map((line) => line.split('|')[1].trim())).toEqual([
      'base',
      '`dpok`',
      '`find`',
      '`gp`',
    ]);
    expect(lines[4]).toContain('| 0.20 | 0.20 ± 1.27 | 0.00 | 50 % | 150 | 2.0 |');
  });
});

describe('docs/evidence.md', () => {
  it('is what its records give, byte for byte, and so are its figures and the reports', async () => {
    const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
    const { page, files } = await renderEvidence(join(docs, 'evidence'));
    expect(await readFile(join(docs, 'evidence.md'), 'utf8')).toBe(page);
    expect(Object.keys(files)).toContain('quick.md');
    for (const [name, text] of Object.entries(files))
      expect(await readFile(join(docs, 'evidence', name), 'utf8')).toBe(text);
  });
});
