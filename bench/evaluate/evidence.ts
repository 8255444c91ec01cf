import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OPTIMIZERS } from '../../src/numerics/optimizers/registry.ts';
import { gaussianSmooth, mean } from '../../src/numerics/statistics.ts';
import { rewardCurve } from '../../src/pictures/reward-curve.ts';
import { accuracyTable } from './accuracy-table.ts';
import {
  AT_150_IMAGES,
  CURVES,
  FIND_PARTS,
  LIMITS,
  METHOD,
  OTHER_BUDGETS,
  OTHER_SEARCHES,
  PAPER_COMPARISON,
  SCORERS,
} from './evidence-text.ts';
import { gainFigure } from './gain-figure.ts';
import { paperTable } from './paper-table.ts';
import { type Records, readRecords } from './records.ts';
import { describeSetup, differenceTable, EXPLANATION, renderReport } from './report.ts';
import { cellsOf, SUITES } from './suites.ts';
import { promptTable, rowsOf, rowTable } from './tables.ts';
import { targetTable } from './target-table.ts';

/** Width of the Gaussian that smooths reward curves, in iterations. */
const SIGMA = 6;
/** Number of prompts whose reward curves are shown. */
const CURVES_SHOWN = 4;
/** Name of the default optimizer. */
const DEFAULT = OPTIMIZERS[0].name;

/**
 * Renders docs/evidence.md, its figures and the report of every suite from the records. The same
 * records give the same bytes.
 *
 * @param folder docs/evidence, with the records (SUITE.jsonl)
 * @returns the text of the page, which belongs beside `folder`, and the texts of the files in
 *   `folder` by name
 */
export async function renderEvidence(
  folder: string,
): Promise<{ page: string; files: { [name: string]: string } }> {
  const files = await renderReports(folder);
  const sections: string[] = ['# Evidence', METHOD, '## The scorers', SCORERS];
  for (const scorer of ['stickers-reward', 'stickers-unseen']) {
    const file = join(folder, `${scorer}.json`);
    if (existsSync(file))
      sections.push(`\`${scorer}\`:`, accuracyTable(JSON.parse(await readFile(file, 'utf8'))));
  }

  /** Begins the section of a suite. Null: it has no runs, and so no section. */
  const begin = async (name: string, title: string, text: string): Promise<Records | null> => {
    const records = await recordsOf(folder, name);
    if (!records || records.runs.length === 0) return null;
    const [runs, cells] = [records.runs.length, cellsOf(SUITES[name]).length];
    sections.push(`## ${title}`, text);
    if (runs < cells) sections.push(`**Incomplete**: ${runs} of ${cells} runs. The command above continues.`);
    sections.push(describeSetup(records));
    return records;
  };
  const suite = async (name: string, title: string, text: string) => {
    const records = await begin(name, title, text);
    if (!records) return null;
    const rows = rowsOf(records);
    const figure = `${name}-gains.svg`;
    files[figure] = gainFigure(rows, `Gain in reward over the base: ${title.toLowerCase()}`);
    sections.push(rowTable(rows), `![gains](evidence/${figure})`);
    return { records, rows };
  };

  const quick = await suite('quick', 'At 150 images', AT_150_IMAGES);
  if (quick) {
    sections.push(
      EXPLANATION,
      targetTable(quick.records, DEFAULT),
      differenceTable(quick.records, quick.rows),
    );
    sections.push(promptTable(quick.records, 150));
  }
  const budgets = await suite('budgets', 'At other budgets', OTHER_BUDGETS);
  if (budgets) sections.push(differenceTable(budgets.records, budgets.rows, DEFAULT));
  await suite('optimizers', 'The other published searches', OTHER_SEARCHES);
  await suite('ablation', "FIND's parts", FIND_PARTS);

  const full = await begin('full', 'The paper’s comparison, 45 complex prompts', PAPER_COMPARISON);
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
      files[name] = rewardCurve({ rewards: run.search, smoothed, title: prompt, sigma: SIGMA });
      return [`![${prompt}](evidence/${name})`];
    });
    sections.push('### Reward curves', CURVES, curves.join('\n'));
    sections.push('### By prompt', byPrompt(all, DEFAULT));
  }
  sections.push('## Limits', LIMITS);
  return { page: `${sections.join('\n\n')}\n`, files };
}

/** The reports of all suites with records, and their figures, by file name. */
async function renderReports(folder: string): Promise<{ [name: string]: string }> {
  const files: { [name: string]: string } = {};
  for (const name of Object.keys(SUITES)) {
    const file = join(folder, `${name}.jsonl`);
    if (!existsSync(file)) continue;
    const { markdown, figures } = await renderReport(file);
    Object.assign(files, { [`${name}.md`]: markdown }, figures);
  }
  return files;
}

async function recordsOf(folder: string, name: string): Promise<Records | null> {
  const file = join(folder, `${name}.jsonl`);
  return existsSync(file) ? readRecords(file) : null;
}

/** Table of the mean reward of each method on each prompt. */
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
        `| ${prompt} | ${base(prompt).toFixed(2)} | ${value(prompt, 'dpok')} | ` +
        `${value(prompt, 'find')} | ${value(prompt, 'elites')} | ${value(prompt, ours)} |`,
    ),
  ].join('\n');
}
