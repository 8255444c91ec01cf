import type { Records, Run } from './record.ts';
import { fixed, markdownTable, type Row, rowsOf } from './tables.ts';

/**
 * What the default has to reach at 150 images, and what it reached: computed, whether or not it is met, over the prompts and seeds of which all of
 * the file's optimizers have a run.
 */
export function claims(records: Records, ours: string): string {
  const rows = rowsOf(shared(records));
  const row = (name: string): Row | undefined => rows.find(({ optimizer }) => optimizer === name);
  const [mine, find, genetic, bestOfN] = [row(ours), row('find'), row('genetic'), row('best-of-n')];
  if (!mine) return '';
  const lines: [string, string, string, boolean][] = [];
  const atLeast = (what: string, value: number, bound: number, boundText: string) =>
    lines.push([what, fixed(value), boundText, value >= bound]);
  const gain = mine.gain.mean;
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
  if (mine.diversity !== null) atLeast('diversity ratio', mine.diversity, 0.5, '0.50');
  if (mine.unseenGain && mine.unseenGain.standardError !== null) {
    const error = mine.unseenGain.standardError;
    atLeast('unseen gain, against 3 standard errors', mine.unseenGain.mean, 3 * error, `3 x ${fixed(error)}`);
  }
  if (mine.obeys) {
    atLeast('points of obeying pictures', 100 * (mine.obeys.learned - mine.obeys.base), 20, '20');
  }
  return markdownTable(
    [`\`${ours}\` at ${mine.budget} images`, 'measured', 'at least', 'met'],
    lines.map(([what, value, bound, isMet]) => [what, value, bound, isMet ? 'yes' : '**no**']),
  );
}

function shared({ setup, runs }: Records): Records {
  const optimizers = new Set(runs.map(({ optimizer }) => optimizer)).size;
  const isShared = ({ prompt, seed, budget }: Run) =>
    runs.filter((other) => other.prompt === prompt && other.seed === seed && other.budget === budget)
      .length === optimizers;
  return { setup, runs: runs.filter(isShared) };
}
