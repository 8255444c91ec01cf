import { mean } from '../../src/numerics/statistics.ts';
import { estimate } from './estimate.ts';
import type { Records, Run } from './records.ts';
import { fixed, interval, markdownTable, shareObeying } from './tables.ts';

/** Processor time of all searches in minutes; null: some runs do not have it. */
function minutes(runs: readonly Run[]): number | null {
  const sum = runs.reduce((sum, { cpuSeconds = Number.NaN }) => sum + cpuSeconds, 0) / 60;
  return Number.isNaN(sum) ? null : sum;
}

const images = (runs: readonly Run[]) => fixed(mean(runs.map(({ budget }) => budget)), 0);

/**
 * Table as in the paper: base and methods, means over the prompts, images of a search, and
 * processor minutes of all searches.
 */
export function paperTable({ runs }: Records): string {
  const order = (name: string) => ['dpok', 'find', 'elites'].indexOf(name) + 1 || 4;
  const methods = [...new Set(runs.map(({ optimizer }) => optimizer))].sort((a, b) => order(a) - order(b));
  const of = (method: string) => runs.filter(({ optimizer }) => optimizer === method);
  const line = (
    name: string,
    own: readonly Run[],
    kind: 'base' | 'learned',
    images: string,
    time: string,
  ) => {
    const unseen = own.flatMap((run) => (kind === 'base' ? run.unseenBase : run.unseenLearned) ?? []);
    const gain = kind === 'base' ? null : estimate(own.map(({ base, learned }) => learned - base));
    return [
      name,
      String(own.length),
      fixed(mean(own.map((run) => run[kind]))),
      interval(gain),
      unseen.length === 0 ? '-' : fixed(mean(unseen)),
      unseen.length === 0 ? '-' : `${(100 * shareObeying(unseen)).toFixed(0)} %`,
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
