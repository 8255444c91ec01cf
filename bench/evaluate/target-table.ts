import type { Records, Run } from './records.ts';
import { fixed, markdownTable, type Row, rowsOf } from './tables.ts';

/**
 * Table of the targets of an optimizer and whether it meets them, over the prompts and seeds for
 * which every optimizer of the file has a run.
 * @param ours name of the optimizer
 * @returns empty if it has no run
 */
export function targetTable(records: Records, ours: string): string {
  const rows = rowsOf(shared(records));
  const row = (name: string): Row | undefined => rows.find(({ optimizer }) => optimizer === name);
  const [own, find, genetic, bestOfN] = [row(ours), row('find'), row('genetic'), row('best-of-n')];
  if (!own) return '';
  const lines: [string, string, string, boolean][] = [];
  const atLeast = (quantity: string, value: number, bound: number, boundText: string) =>
    lines.push([quantity, fixed(value), boundText, value >= bound]);
  const gain = own.gain.mean;
  if (find) atLeast('gain, against 5 x `find`', gain, 5 * find.gain.mean, `5 x ${fixed(find.gain.mean)}`);
  if (genetic) atLeast('gain, against `genetic`', gain, genetic.gain.mean, fixed(genetic.gain.mean));
  if (bestOfN) {
    atLeast(
      "gain, against the best image of `best-of-n`'s search",
      gain,
      bestOfN.bestGain.mean,
      fixed(bestOfN.bestGain.mean),
    );
  }
  if (own.diversity !== null) atLeast('diversity ratio', own.diversity, 0.5, '0.50');
  if (own.unseenGain && own.unseenGain.standardError !== null) {
    const error = own.unseenGain.standardError;
    atLeast('unseen gain, against 3 standard errors', own.unseenGain.mean, 3 * error, `3 x ${fixed(error)}`);
  }
  if (own.obeys) {
    atLeast('obeying pictures, percentage points', 100 * (own.obeys.learned - own.obeys.base), 20, '20');
  }
  return markdownTable(
    [`\`${ours}\` at ${own.budget} images`, 'measured', 'at least', 'met'],
    lines.map(([quantity, value, bound, isMet]) => [quantity, value, bound, isMet ? 'yes' : '**no**']),
  );
}

/** The runs whose prompt, seed and budget every optimizer has. */
function shared({ setup, runs }: Records): Records {
  const optimizers = new Set(runs.map(({ optimizer }) => optimizer)).size;
  const isShared = ({ prompt, seed, budget }: Run) =>
    runs.filter((other) => other.prompt === prompt && other.seed === seed && other.budget === budget)
      .length === optimizers;
  return { setup, runs: runs.filter(isShared) };
}
