import { basename } from 'node:path';
import { gainFigure } from './gain-figure.ts';
import { type Records, readRecords } from './records.ts';
import {
  interval,
  markdownTable,
  pairedDifference,
  promptTable,
  type Row,
  rowsOf,
  rowTable,
} from './tables.ts';

/**
 * Renders the report of a file of records. The same records give the same bytes.
 * @returns Markdown, and SVG figures by file name
 */
export async function renderReport(
  file: string,
): Promise<{ markdown: string; figures: { [name: string]: string } }> {
  const records = await readRecords(file);
  const name = basename(file, '.jsonl');
  const rows = rowsOf(records);
  if (rows.length === 0) return { markdown: `# ${name}\n\nNo run has finished yet.\n`, figures: {} };
  const figure = `${name}-gains.svg`;
  const budgets = [...new Set(rows.map(({ budget }) => budget))];
  const markdown = [
    `# ${name}`,
    describeSetup(records),
    rowTable(rows),
    EXPLANATION,
    `![gains](${figure})`,
    '## Differences',
    'Gain of the first minus gain of the second optimizer, over the same prompts and seeds, ' +
      'with its 95 % interval.',
    differenceTable(records, rows),
    ...budgets.flatMap((budget) => [`## Gain by prompt, ${budget} images`, promptTable(records, budget)]),
  ].join('\n\n');
  return {
    markdown: `${markdown}\n`,
    figures: { [figure]: gainFigure(rows, `Gain in reward over the base: ${name}`) },
  };
}

/** Explains the columns of the tables. */
export const EXPLANATION = [
  'Values are means over held-out samples: the same noises through N(0, I) and through the learned',
  'distribution. ± is a 95 % interval over prompts and seeds.',
  '*Gain*: learned minus base. *Success*: share of samples above the base’s 90th percentile.',
  '*Best image*: gain of the best image of the search; no held-out sample.',
  '*Unseen gain* and *obeys*: by a scorer that nothing was optimized for.',
  '*Diversity*: mean distance between pictures, learned over base. *Norm*: ||z|| / sqrt(d).',
  '*CPU seconds*: processor time of a search; `-`: not measured, or on another processor.',
].join(' ');

/** The setup of a file in one sentence. */
export function describeSetup({ setup, runs }: Records): string {
  const { model, reward, unseen, sampler, draws } = setup;
  const seeds = [...new Set(runs.map(({ seed }) => seed))].sort((a, b) => a - b);
  const prompts = new Set(runs.map(({ prompt }) => prompt)).size;
  return (
    `${prompts} prompts, seeds ${seeds.join(', ')}; model ${model}, ` +
    `${sampler.scheduler} ${sampler.steps} steps, guidance scale ${sampler.guidanceScale}; ` +
    `reward ${reward}, unseen scorer ${unseen ?? 'none'}; ${draws} held-out samples of each distribution.`
  );
}

/** Table of the paired differences of every two optimizers, or of `only` and every other one. */
export function differenceTable(records: Records, rows: readonly Row[], only?: string): string {
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
