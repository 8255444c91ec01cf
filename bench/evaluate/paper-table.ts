import { mean } from '../../src/numerics/statistics.ts';
import { estimate } from './estimate.ts';
import type { Records, Run } from './record.ts';
import { fixed, interval, markdownTable, share } from './tables.ts';

/** Null: not of all of them is it known. */
function minutes(runs: readonly Run[]): number | null {
  const sum = runs.reduce((sum, { cpuSeconds = Number.NaN }) => sum + cpuSeconds, 0) / 60;
  return Number.isNaN(sum) ? null : sum;
}

const images = (runs: readonly Run[]) => fixed(mean(runs.map(({ budget }) => budget)), 0);

/** The table of the paper: a line for the base and each method, means over the prompts, the images that a search saw, and the minutes of processor time of all its searches. */
export function paperTable({ runs }: Records): string {
  const order = (name: string) => ['dpok', 'find', 'elites'].indexOf(name) + 1 || 4;
  const methods = [...new Set(runs.map(({ optimizer }) => optimizer))].sort((a, b) => order(a) - order(b));
  const of = (method: string) => runs.filter(({ optimizer }) => optimizer === method);
  const line = (
    name: string,
    mine: readonly Run[],
    kind: 'base' | 'learned',
    images: string,
    time: string,
  ) => {
    const unseen = mine.flatMap((run) => (kind === 'base' ? run.unseenBase : run.unseenLearned) ?? []);
    const gain = kind === 'base' ? null : estimate(mine.map(({ base, learned }) => learned - base));
    return [
      name,
      String(mine.length),
      fixed(mean(mine.map((run) => run[kind]))),
      interval(gain),
      unseen.length === 0 ? '-' : fixed(mean(unseen)),
      unseen.length === 0 ? '-' : `${(100 * share(unseen)).toFixed(0)} %`,
      images,
      time,
    ];
  };
  return markdownTable(
    ['method', 'prompts', 'reward', 'gain', 'unseen score', 'obeys', 'images', 'CPU minutes'],
    [
      line('base', of(methods[methods.length - 1]), 'base', '0', '0'),
      ...methods.map((method) =>
        line(`\`${method}\``, of(method), 'learned', images(of(method)), fixed(minutes(of(method)), 1)),
      ),
    ],
  );
}
