import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import { runMain } from '../../src/cli/run-main.ts';
import { startLocal } from './local.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { type Cell, RecordFile } from './record.ts';
import { renderReport } from './report.ts';
import type { Runner } from './runner.ts';
import { startService } from './service.ts';
import { cellsOf, SUITES, type Suite } from './suites.ts';

const USAGE = `npm run evaluate -- --suite NAME [options]

  --suite NAME        one of ${Object.keys(SUITES).join(', ')}
  --out FOLDER        where NAME.jsonl, NAME.md and its figures go (default: evaluation). Run again, it goes on where it ended.
  --prompt TEXT       instead of the suite's prompts; may be given several times
  --optimizers A,B    instead of the suite's; name or name:parameter=value:parameter=value
  --seeds 1,2         instead of the suite's
  --budgets 50,150    instead of the suite's
  --draws N           fresh draws of each law
  --model NAME --reward NAME --unseen NAME (none: without an unseen scorer)
  --service URL       as jobs of a running service, instead of in this process
  --max-minutes N     stop after the cell in which this time has passed
  --report            write the report of what there is and run nothing`;

await runMain(async () => {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string', default: 'quick' },
      out: { type: 'string', default: 'evaluation' },
      prompt: { type: 'string', multiple: true },
      optimizers: { type: 'string' },
      seeds: { type: 'string' },
      budgets: { type: 'string' },
      draws: { type: 'string' },
      model: { type: 'string' },
      reward: { type: 'string' },
      unseen: { type: 'string', default: 'stickers-unseen' },
      service: { type: 'string' },
      'max-minutes': { type: 'string' },
      report: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const named = SUITES[values.suite];
  if (!named) throw new Error(`There is no suite "${values.suite}"; there are ${Object.keys(SUITES).join(', ')}.`);
  const suite: Suite = {
    prompts: values.prompt ?? named.prompts,
    optimizers: values.optimizers?.split(',') ?? named.optimizers,
    seeds: integers('seeds', values.seeds, 0) ?? named.seeds,
    budgets: integers('budgets', values.budgets, 1) ?? named.budgets,
    draws: integers('draws', values.draws, 2)?.[0] ?? named.draws,
  };
  for (const optimizer of suite.optimizers) parseOptimizer(optimizer);
  const maxMinutes = values['max-minutes'] === undefined ? Number.POSITIVE_INFINITY : Number(values['max-minutes']);
  if (!(maxMinutes > 0)) throw new Error(`--max-minutes is "${values['max-minutes']}"; it has to be a number above 0.`);
  await mkdir(values.out, { recursive: true });
  const file = join(values.out, `${values.suite}.jsonl`);

  if (!values.report) {
    const choice = {
      suite: values.suite,
      model: values.model,
      reward: values.reward,
      unseen: values.unseen === 'none' ? null : values.unseen,
      draws: suite.draws,
    };
    const runner = await (values.service ? startService(values.service, choice) : startLocal(choice));
    try {
      const records = await RecordFile.open(file, runner.setup);
      await runCells(cellsOf(suite), records, runner, suite.draws, maxMinutes);
    } finally {
      await runner.stop();
    }
  }
  const { markdown, figures } = await renderReport(file);
  await writeFile(join(values.out, `${values.suite}.md`), markdown);
  for (const [name, svg] of Object.entries(figures)) await writeFile(join(values.out, name), svg);
  console.log(markdown);
});

async function runCells(
  cells: readonly Cell[],
  records: RecordFile,
  runner: Runner,
  draws: number,
  maxMinutes: number,
): Promise<void> {
  const open = cells.filter((cell) => !records.has(cell));
  if (open.length < cells.length)
    console.log(`${cells.length - open.length} of ${cells.length} runs are there already.`);
  const images = open.reduce((sum, { budget }) => sum + budget + draws, 0);
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {value}/{total} images | {eta_formatted} left | {cell}',
    noTTYOutput: true,
    notTTYSchedule: 30_000,
    etaBuffer: 500,
  });
  bar.start(images, 0, { cell: '' });
  const began = performance.now();
  try {
    for (const cell of open) {
      if (performance.now() - began > maxMinutes * 60_000) break;
      bar.update({ cell: `${cell.optimizer}, ${cell.budget}, seed ${cell.seed}: ${cell.prompt}` });
      await records.add(await runner.run(cell, (count) => bar.increment(count)));
    }
  } finally {
    bar.stop();
  }
}

function integers(name: string, text: string | undefined, minimum: number): number[] | undefined {
  const numbers = text?.split(',').map(Number);
  if (numbers?.some((number) => !Number.isSafeInteger(number) || number < minimum)) {
    throw new Error(`--${name} is "${text}"; it has to be integers >= ${minimum}, with commas between them.`);
  }
  return numbers;
}
