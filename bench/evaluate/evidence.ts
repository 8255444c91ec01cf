import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';
import { gaussianSmooth, mean } from '../../src/numerics/statistics.ts';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { accuracyTable } from './accuracy-table.ts';
import { claims } from './claims.ts';
import {
  ABLATION,
  BUDGETS,
  CURVES,
  FULL,
  LIMITS,
  METHOD,
  PUBLISHED,
  QUICK,
  SCORERS,
} from './evidence-text.ts';
import { gainFigure } from './figures.ts';
import { paperTable } from './paper-table.ts';
import { type Records, readRecords } from './record.ts';
import { describe, differences, EXPLANATION } from './report.ts';
import { cellsOf, SUITES } from './suites.ts';
import { promptTable, rowsOf, rowTable } from './tables.ts';

/** Iterations of the Gaussian by which the reward curves are smoothed. */
const SIGMA = 6;
const CURVES_SHOWN = 4;
const DEFAULT = OPTIMIZERS[0].name;

/**
 * docs/evidence.md and its figures, from the JSON lines beside it: the same records give the same bytes.
 *
 * @param folder docs/evidence
 * @returns figures by file name; the page is to lie beside `folder`, in which the figures are
 */
export async function renderEvidence(
  folder: string,
): Promise<{ page: string; figures: { [name: string]: string } }> {
  const figures: { [name: string]: string } = {};
  const sections: string[] = ['# Evidence', METHOD, '## The scorers', SCORERS];
  for (const scorer of ['stickers-reward', 'stickers-unseen']) {
    const file = join(folder, `${scorer}.json`);
    if (existsSync(file))
      sections.push(`\`${scorer}\`:`, accuracyTable(JSON.parse(await readFile(file, 'utf8'))));
  }

  /** A suite's section up to its tables; null: it has no runs yet, and no section. */
  const begin = async (name: string, title: string, text: string): Promise<Records | null> => {
    const records = await recordsOf(folder, name);
    if (!records || records.runs.length === 0) return null;
    const [runs, cells] = [records.runs.length, cellsOf(SUITES[name]).length];
    sections.push(`## ${title}`, text);
    if (runs < cells)
      sections.push(`**Not whole yet**: ${runs} of ${cells} runs; the command goes on where it ended.`);
    sections.push(describe(records));
    return records;
  };
  const suite = async (name: string, title: string, text: string) => {
    const records = await begin(name, title, text);
    if (!records) return null;
    const rows = rowsOf(records);
    const figure = `${name}-gains.svg`;
    figures[figure] = gainFigure(rows, `Gain in reward over the base: ${title.toLowerCase()}`);
    sections.push(rowTable(rows), `![gains](evidence/${figure})`);
    return { records, rows };
  };

  const quick = await suite('quick', 'At 150 images', QUICK);
  if (quick) {
    sections.push(EXPLANATION, claims(quick.records, DEFAULT), differences(quick.records, quick.rows));
    sections.push(promptTable(quick.records, 150));
  }
  const budgets = await suite('budgets', 'At other budgets', BUDGETS);
  if (budgets) sections.push(differences(budgets.records, budgets.rows, DEFAULT));
  await suite('optimizers', 'The other published searches', PUBLISHED);
  await suite('ablation', "FIND's parts", ABLATION);

  const full = await begin('full', 'The paper’s comparison, 45 complex prompts', FULL);
  if (full) {
    const dpok = await recordsOf(folder, 'dpok');
    const all = { setup: full.setup, runs: [...full.runs, ...(dpok?.runs ?? [])] };
    const prompts = [...new Set(full.runs.map(({ prompt }) => prompt))];
    sections.push(paperTable(all));
    const curves = prompts.slice(0, CURVES_SHOWN).flatMap((prompt, i) => {
      const run = full.runs.find((run) => run.prompt === prompt && run.optimizer === 'find');
      if (!run) return [];
      const name = `curve-${i + 1}.svg`;
      const smoothed = gaussianSmooth(run.search, SIGMA);
      figures[name] = rewardCurve({ rewards: run.search, smoothed, title: prompt, sigma: SIGMA });
      return [`![${prompt}](evidence/${name})`];
    });
    sections.push('### Reward curves', CURVES, curves.join('\n'));
    sections.push('### By prompt', byPrompt(all, DEFAULT));
  }
  sections.push('## Limits', LIMITS);
  return { page: `${sections.join('\n\n')}\n`, figures };
}

async function recordsOf(folder: string, name: string): Promise<Records | null> {
  const file = join(folder, `${name}.jsonl`);
  return existsSync(file) ? readRecords(file) : null;
}

function byPrompt(records: Records, ours: string): string {
  const prompts = [...new Set(records.runs.map(({ prompt }) => prompt))];
  const value = (prompt: string, optimizer: string) => {
    const runs = records.runs.filter((run) => run.prompt === prompt && run.optimizer === optimizer);
    return runs.length === 0 ? '-' : mean(runs.map(({ learned }) => learned)).toFixed(2);
  };
  const base = (prompt: string) => mean(records.runs.filter((r) => r.prompt === prompt).map((r) => r.base));
  return [
    `| prompt | base | DPOK | \`find\` | \`elites\` | \`${ours}\` |`,
    '| --- | --- | --- | --- | --- | --- |',
    ...prompts.map(
      (prompt) =>
        `| ${prompt} | ${base(prompt).toFixed(2)} | ${value(prompt, 'dpok')} | ${value(prompt, 'find')} | ${value(prompt, 'elites')} | ${value(prompt, ours)} |`,
    ),
  ].join('\n');
}
