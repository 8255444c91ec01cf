import { basename } from 'node:path';
import { gainFigure } from './figures.ts';
import { type Records, readRecords } from './record.ts';
import {
  interval,
  markdownTable,
  pairedDifference,
  promptTable,
  type Row,
  rowsOf,
  rowTable,
} from './tables.ts';

/** The report of a file of records: Markdown, and its figures by file name. The same records give the same bytes. */
export async function renderReport(
  file: string,
): Promise<{ markdown: string; figures: { [name: string]: string } }> {
  const records = await readRecords(file);
  const name = basename(file, '.jsonl');
  const rows = rowsOf(records);
  if (rows.length === 0) return { markdown: `# ${name}\n\nNo run has ended yet.\n`, figures: {} };
  const figure = `${name}-gains.svg`;
  const budgets = [...new Set(rows.map(({ budget }) => budget))];
  const markdown = [
    `# ${name}`,
    describe(records),
    rowTable(rows),
    EXPLANATION,
    `![gains](${figure})`,
    '## Differences',
    'Gain of the first less gain of the second, over the same prompts and seeds, with its 95 % interval.',
    differences(records, rows),
    ...budgets.flatMap((budget) => [`## Gain by prompt, ${budget} images`, promptTable(records, budget)]),
  ].join('\n\n');
  return {
    markdown: `${markdown}\n`,
    figures: { [figure]: gainFigure(rows, `Gain in reward over the base: ${name}`) },
  };
}

export const EXPLANATION = `All but "best image" is of fresh draws, the same noise through N(0, I) and through the learned distribution; ± is a 95 % interval over prompts
and seeds. *gain*: learned less base. *success*: share of draws above the base's 90th percentile. *best image*: gain of the best one that the search
saw. *unseen gain*, *obeys*: by a scorer that nothing was optimised for. *diversity*: mean distance of pictures, learned over base. *norm*:
||z|| / sqrt(d). *CPU seconds*: processor time of a search; -: not measured on the processor that the others were.`;

/** Of what and how, in one sentence. */
export function describe({ setup, runs }: Records): string {
  const { model, reward, unseen, sampler, draws } = setup;
  const seeds = [...new Set(runs.map(({ seed }) => seed))].sort((a, b) => a - b);
  const prompts = new Set(runs.map(({ prompt }) => prompt)).size;
  return `${prompts} prompts, seeds ${seeds.join(', ')}; model ${model}, ${sampler.scheduler} ${sampler.steps} steps, guidance scale ${sampler.guidanceScale}; reward ${reward}, unseen scorer ${unseen ?? 'none'}; ${draws} fresh draws of each distribution.`;
}

/** Paired differences of each two optimizers, or of `only` and each other one. */
export function differences(records: Records, rows: readonly Row[], only?: string): string {
  const lines = rows.flatMap((a) =>
    rows.flatMap((b) => {
      if (a.budget !== b.budget || a === b) return [];
      if (only ? a.optimizer !== only : a.gain.mean <= b.gain.mean) return [];
      const difference = pairedDifference(records, a.optimizer, b.optimizer, a.budget);
      return difference
        ? [[String(a.budget), `\`${a.optimizer}\` - \`${b.optimizer}\``, interval(difference)]]
        : [];
    }),
  );
  return lines.length === 0 ? 'Too few runs.' : markdownTable(['images', 'optimizers', 'difference'], lines);
}
