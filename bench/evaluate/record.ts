import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { lookUpOptimizer } from '../../src/numerics/optimizers/registry.ts';

/** What every run of a file has in common; the first line of it. */
export interface Setup {
  readonly type: 'setup';
  readonly suite: string;
  readonly model: string;
  /** What is optimised. */
  readonly reward: string;
  /** What nobody optimises; a picture obeys the prompt when its score is above 0. */
  readonly unseen: string | null;
  readonly sampler: {
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly eta: number;
  };
  /** Fresh draws of each distribution. */
  readonly draws: number;
}

/** One thing to be run: an optimizer on a prompt. */
export interface Cell {
  readonly prompt: string;
  /** name, or name:parameter=value:parameter=value */
  readonly optimizer: string;
  readonly seed: number;
  /** Full denoisings of the search. */
  readonly budget: number;
}

/** What became of a cell; the other lines. Judged on fresh draws, the same noise through N(0, I) and through the learned distribution. */
export interface Run extends Cell {
  readonly type: 'run';
  /** Mean reward of the fresh draws of N(0, I). */
  readonly base: number;
  /** Of the learned distribution. */
  readonly learned: number;
  /** Share of the learned distribution's draws above the base's 90th percentile. */
  readonly success: number;
  /** Mean pairwise distance of pictures, learned over base. */
  readonly diversity: number | null;
  /** Mean of ||z|| / sqrt(d) of the learned noises. */
  readonly norm: number;
  /** Scores of the fresh draws by the unseen scorer, one per draw. */
  readonly unseenBase: readonly number[] | null;
  readonly unseenLearned: readonly number[] | null;
  /** Rewards that the search saw, in order. */
  readonly search: readonly number[];
  /** Of the search, without its judgement, as a clock on the wall tells it. */
  readonly seconds: number;
  /** Processor time of the search, over all threads: it does not count what else the machine does. Absent: it ran elsewhere, or was not measured. */
  readonly cpuSeconds?: number;
}

export interface Records {
  readonly setup: Setup;
  readonly runs: readonly Run[];
}

export const cellKey = ({ prompt, optimizer, seed, budget }: Cell): string =>
  JSON.stringify([prompt, optimizer, seed, budget]);

/** Numbers of a record are kept to four digits behind the point: more is noise. */
export const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;

/** Reads a file of JSON lines. A last line that was cut off while it was written is left out; any other damage is an Error. */
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

/** Records keep the name that an optimizer had when it ran; figures show its name of today. */
function currentName(spec: string): string {
  const [name, ...parameters] = spec.split(':');
  return [lookUpOptimizer(name)?.name ?? name, ...parameters].join(':');
}

/** A file of records that grows: opened again, it goes on where it ended. */
export class RecordFile {
  readonly #file: string;
  readonly runs: Run[];

  private constructor(file: string, runs: Run[]) {
    this.#file = file;
    this.runs = runs;
  }

  /** @throws Error when the file is of another setup: figures of different settings must not be mixed */
  static async open(file: string, setup: Setup): Promise<RecordFile> {
    if (!existsSync(file)) {
      await writeFile(file, `${JSON.stringify(setup)}\n`);
      return new RecordFile(file, []);
    }
    const records = await readRecords(file);
    const [before, now] = [JSON.stringify(records.setup), JSON.stringify(setup)];
    if (before !== now) {
      throw new Error(
        `${file} is of another setup:\n  ${before}\nand not of\n  ${now}\nGive another --out, or remove the file.`,
      );
    }
    // Whole lines only: what was cut off goes.
    await writeFile(
      file,
      `${[records.setup, ...records.runs].map((record) => JSON.stringify(record)).join('\n')}\n`,
    );
    return new RecordFile(file, [...records.runs]);
  }

  has(cell: Cell): boolean {
    return this.runs.some((run) => cellKey(run) === cellKey(cell));
  }

  async add(run: Run): Promise<void> {
    await appendFile(this.#file, `${JSON.stringify(run)}\n`);
    this.runs.push(run);
  }
}
