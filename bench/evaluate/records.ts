import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { lookUpOptimizer } from '../../src/numerics/optimizers/registry.ts';

/** What all runs of a file have in common; its first line. */
export interface Setup {
  readonly type: 'setup';
  readonly suite: string;
  readonly model: string;
  /** Reward that searches optimize; the names of a sum are joined by ` + `. */
  readonly reward: string;
  /** Scorer that no search uses; a picture obeys the prompt if its score is above 0. null: none. */
  readonly unseen: string | null;
  readonly sampler: {
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly eta: number;
  };
  /** Number of held-out samples of each distribution. */
  readonly draws: number;
}

/** One combination of prompt, optimizer, seed and budget. */
export interface Cell {
  readonly prompt: string;
  /** name, or name:parameter=value:parameter=value */
  readonly optimizer: string;
  readonly seed: number;
  /** Full denoisings of the search. */
  readonly budget: number;
}

/**
 * Result of a cell; the further lines of a file. Judged on held-out samples: the same noises
 * through N(0, I) and through the learned distribution.
 */
export interface Run extends Cell {
  readonly type: 'run';
  /** Mean reward of the held-out samples of N(0, I). */
  readonly base: number;
  /** Mean reward of those of the learned distribution. */
  readonly learned: number;
  /** Share of the learned distribution's samples above the base's 90th percentile. */
  readonly success: number;
  /** Mean pairwise distance of pictures, learned over base. */
  readonly diversity: number | null;
  /** Mean of ||z|| / sqrt(d) of the learned noises. */
  readonly norm: number;
  /** Unseen score of each held-out sample. */
  readonly unseenBase: readonly number[] | null;
  readonly unseenLearned: readonly number[] | null;
  /** Rewards of the search, in order. */
  readonly search: readonly number[];
  /** Elapsed time of the search, without its judgement. */
  readonly seconds: number;
  /**
   * Processor time of the search over all threads. Missing: it ran on another processor, or was not
   * measured.
   */
  readonly cpuSeconds?: number;
}

/** The content of a file. */
export interface Records {
  readonly setup: Setup;
  readonly runs: readonly Run[];
}

/** Identifies a cell. */
export const cellKey = ({ prompt, optimizer, seed, budget }: Cell): string =>
  JSON.stringify([prompt, optimizer, seed, budget]);

/** Rounds a number of a record to four decimal places. */
export const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** The values of a run that come from the report on its held-out samples. */
export function fromReport({
  base,
  learned,
  successRate,
  diversityRatio,
  meanNorm,
}: {
  readonly base: { readonly mean: number };
  readonly learned: { readonly mean: number };
  readonly successRate: number;
  readonly diversityRatio: number | null;
  readonly meanNorm: number;
}): Pick<Run, 'base' | 'learned' | 'success' | 'diversity' | 'norm'> {
  return {
    base: rounded(base.mean),
    learned: rounded(learned.mean),
    success: rounded(successRate),
    diversity: diversityRatio === null ? null : rounded(diversityRatio),
    norm: rounded(meanNorm),
  };
}

/**
 * Reads a file of JSON lines. An incomplete last line is ignored; the harness was interrupted while
 * it wrote it.
 * @throws Error for any other damage
 */
export async function readRecords(file: string): Promise<Records> {
  const lines = (await readFile(file, 'utf8')).split('\n');
  const records = lines.flatMap((line, i) => {
    if (line === '') return [];
    try {
      return [JSON.parse(line) as Setup | Run];
    } catch (error) {
      if (i === lines.length - 1) return [];
      throw new Error(`${file}, line ${i + 1}, is not JSON: ${(error as Error).message}`, { cause: error });
    }
  });
  const [setup, ...runs] = records;
  if (setup?.type !== 'setup')
    throw new Error(`${file} does not begin with a setup; it is not a file of this harness.`);
  return { setup, runs: (runs as Run[]).map((run) => ({ ...run, optimizer: currentName(run.optimizer) })) };
}

/** The current name of an optimizer. Records keep the name that it had when it ran. */
function currentName(spec: string): string {
  const [name, ...parameters] = spec.split(':');
  return [lookUpOptimizer(name)?.name ?? name, ...parameters].join(':');
}

/**
 * A file of records that runs are appended to. An interrupted evaluation continues with the same
 * file.
 */
export class RecordFile {
  readonly #file: string;
  readonly runs: Run[];

  private constructor(file: string, runs: Run[]) {
    this.#file = file;
    this.runs = runs;
  }

  /**
   * Opens or creates a file.
   * @throws Error when the file has another setup, because results of different settings must not
   *   be mixed
   */
  static async open(file: string, setup: Setup): Promise<RecordFile> {
    if (!existsSync(file)) {
      await writeFile(file, `${JSON.stringify(setup)}\n`);
      return new RecordFile(file, []);
    }
    const records = await readRecords(file);
    const [before, now] = [JSON.stringify(records.setup), JSON.stringify(setup)];
    if (before !== now) {
      throw new Error(
        `${file} has another setup:\n  ${before}\ninstead of\n  ${now}\n` +
          'Give another --out, or remove the file.',
      );
    }
    // Removes an incomplete last line.
    await writeFile(
      file,
      `${[records.setup, ...records.runs].map((record) => JSON.stringify(record)).join('\n')}\n`,
    );
    return new RecordFile(file, [...records.runs]);
  }

  /** Whether the cell has been run. */
  has(cell: Cell): boolean {
    return this.runs.some((run) => cellKey(run) === cellKey(cell));
  }

  /** Appends a run. */
  async add(run: Run): Promise<void> {
    await appendFile(this.#file, `${JSON.stringify(run)}\n`);
    this.runs.push(run);
  }
}
