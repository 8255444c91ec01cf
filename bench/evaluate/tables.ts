import { mean } from '../../src/numerics/statistics.ts';
import { type Estimate, estimate } from './estimate.ts';
import type { Records, Run } from './records.ts';

/** Results of an optimizer at a budget, over all prompts and seeds. */
export interface Row {
  readonly optimizer: string;
  readonly budget: number;
  readonly runs: number;
  readonly base: number;
  readonly learned: number;
  /** learned - base */
  readonly gain: Estimate;
  readonly success: number;
  /** Best reward of the search - base: a single picture, not a distribution. */
  readonly bestGain: Estimate;
  readonly unseenGain: Estimate | null;
  /** Shares of held-out samples that obey the prompt, as the unseen scorer judges. */
  readonly obeys: { readonly base: number; readonly learned: number } | null;
  readonly diversity: number | null;
  readonly norm: number;
  /** Mean processor time of a search, over the runs that have it. */
  readonly cpuSeconds: number | null;
}

const gainOf = ({ base, learned }: Run) => learned - base;
/** Share of scores above 0, which obey the prompt. */
export const shareObeying = (scores: readonly number[]) =>
  scores.filter((score) => score > 0).length / scores.length;

/** The rows of a report, by budget, and then in the order in which the optimizers first occur. */
export function rowsOf({ runs }: Records): Row[] {
  const budgets = [...new Set(runs.map(({ budget }) => budget))].sort((a, b) => a - b);
  const optimizers = [...new Set(runs.map(({ optimizer }) => optimizer))];
  return budgets.flatMap((budget) =>
    optimizers.flatMap((optimizer) => {
      const own = runs.filter((run) => run.budget === budget && run.optimizer === optimizer);
      return own.length === 0 ? [] : [rowOf(optimizer, budget, own)];
    }),
  );
}

function rowOf(optimizer: string, budget: number, runs: readonly Run[]): Row {
  const unseen = runs.flatMap(({ unseenBase, unseenLearned }) =>
    unseenBase && unseenLearned ? [{ base: unseenBase, learned: unseenLearned }] : [],
  );
  const cpuTimes = runs.flatMap(({ cpuSeconds }) => (cpuSeconds === undefined ? [] : [cpuSeconds]));
  const diversities = runs.flatMap(({ diversity }) => (diversity === null ? [] : [diversity]));
  return {
    optimizer,
    budget,
    runs: runs.length,
    base: mean(runs.map(({ base }) => base)),
    learned: mean(runs.map(({ learned }) => learned)),
    gain: estimate(runs.map(gainOf)),
    success: mean(runs.map(({ success }) => success)),
    bestGain: estimate(runs.map(({ search, base }) => Math.max(...search) - base)),
    unseenGain:
      unseen.length === 0 ? null : estimate(unseen.map(({ base, learned }) => mean(learned) - mean(base))),
    obeys:
      unseen.length === 0
        ? null
        : {
            base: mean(unseen.map(({ base }) => shareObeying(base))),
            learned: mean(unseen.map(({ learned }) => shareObeying(learned))),
          },
    diversity: diversities.length === 0 ? null : mean(diversities),
    norm: mean(runs.map(({ norm }) => norm)),
    cpuSeconds: cpuTimes.length === 0 ? null : mean(cpuTimes),
  };
}

/** Gain of a minus gain of b, over the prompts and seeds that both have. Null: fewer than two. */
export function pairedDifference({ runs }: Records, a: string, b: string, budget: number): Estimate | null {
  const differences = runs.flatMap((run) => {
    if (run.optimizer !== a || run.budget !== budget) return [];
    const other = runs.find(
      ({ optimizer, prompt, seed, budget }) =>
        optimizer === b && prompt === run.prompt && seed === run.seed && budget === run.budget,
    );
    return other ? [gainOf(run) - gainOf(other)] : [];
  });
  return differences.length < 2 ? null : estimate(differences);
}

/** A number with fixed digits; `-` for null. */
export const fixed = (value: number | null, digits = 2): string =>
  value === null ? '-' : value.toFixed(digits);

/** `1.23 ± 0.45`: the mean and the half width of its 95 % interval. */
export const interval = (value: Estimate | null): string => {
  if (value === null) return '-';
  return value.halfWidth === null ? fixed(value.mean) : `${fixed(value.mean)} ± ${fixed(value.halfWidth)}`;
};

/** A Markdown table. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Table of the rows of a report. */
export function rowTable(rows: readonly Row[]): string {
  const percent = (value: number) => `${(100 * value).toFixed(0)} %`;
  return markdownTable(
    [
      'images',
      'optimizer',
      'runs',
      'held-out reward',
      'gain',
      'success',
      'best image',
      'unseen gain',
      'obeys',
      'diversity',
      'norm',
      'CPU seconds',
    ],
    rows.map((row) => [
      String(row.budget),
      `\`${row.optimizer}\``,
      String(row.runs),
      fixed(row.learned),
      interval(row.gain),
      percent(row.success),
      `+${fixed(row.bestGain.mean)}`,
      interval(row.unseenGain),
      row.obeys ? `${percent(row.obeys.base)} → ${percent(row.obeys.learned)}` : '-',
      fixed(row.diversity),
      fixed(row.norm, 3),
      fixed(row.cpuSeconds, 1),
    ]),
  );
}

/** Table of the mean gain of each optimizer on each prompt, at one budget. */
export function promptTable({ runs }: Records, budget: number): string {
  const own = runs.filter((run) => run.budget === budget);
  const optimizers = [...new Set(own.map(({ optimizer }) => optimizer))];
  const prompts = [...new Set(own.map(({ prompt }) => prompt))];
  return markdownTable(
    ['prompt', 'base', ...optimizers.map((optimizer) => `\`${optimizer}\``)],
    prompts.map((prompt) => {
      const here = own.filter((run) => run.prompt === prompt);
      const gain = (optimizer: string) => {
        const gains = here.filter((run) => run.optimizer === optimizer).map(gainOf);
        return gains.length === 0 ? '-' : `${mean(gains) < 0 ? '' : '+'}${fixed(mean(gains))}`;
      };
      return [prompt, fixed(mean(here.map(({ base }) => base))), ...optimizers.map(gain)];
    }),
  );
}
