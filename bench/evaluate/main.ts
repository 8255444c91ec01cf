import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runMain } from '../../src/cli/run-main.ts';
import { readConfig } from '../../src/config/config.ts';
import { startLocal } from './local.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { startProcesses } from './processes.ts';
import { RecordFile } from './record.ts';
import { renderReport } from './report.ts';
import { runCells } from './run-cells.ts';
import type { Choice, Runner } from './runner.ts';
import { startService } from './service.ts';
import { cellsOf, SUITES, type Suite } from './suites.ts';

const USAGE = `npm run evaluate -- --suite NAME [options]

  --suite NAME        one of ${Object.keys(SUITES).join(', ')}
  --out FOLDER        where NAME.jsonl, NAME.md and its figures go (default: evaluation). Run again, it goes on where it ended.
  --prompt TEXT       instead of the suite's prompts; may be given several times
  --optimizers A,B    instead of the suite's; name or name:parameter=value:parameter=value
  --seeds 1,2         instead of the suite's
  --budgets 50,150    instead of the suite's
  --draws N           fresh draws of each distribution
  --model NAME --reward NAME --unseen NAME (none: without an unseen scorer)
  --service URL       as jobs of a running service, instead of on this machine
  --processes N       that share the cores of this machine (default: one a core for the embedded model on the CPU, else 1)
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
      processes: { type: 'string' },
      'max-minutes': { type: 'string' },
      report: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const named = SUITES[values.suite];
  if (!named)
    throw new Error(`There is no suite "${values.suite}"; there are ${Object.keys(SUITES).join(', ')}.`);
  const suite: Suite = {
    prompts: values.prompt ?? named.prompts,
    optimizers: values.optimizers?.split(',') ?? named.optimizers,
    seeds: integers('seeds', values.seeds, 0) ?? named.seeds,
    budgets: integers('budgets', values.budgets, 1) ?? named.budgets,
    draws: integers('draws', values.draws, 2)?.[0] ?? named.draws,
  };
  for (const optimizer of suite.optimizers) parseOptimizer(optimizer);
  const maxMinutes =
    values['max-minutes'] === undefined ? Number.POSITIVE_INFINITY : Number(values['max-minutes']);
  if (!(maxMinutes > 0))
    throw new Error(`--max-minutes is "${values['max-minutes']}"; it has to be a number above 0.`);
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
    const runners = values.service
      ? [await startService(values.service, choice)]
      : await startHere(choice, integers('processes', values.processes, 1)?.[0] ?? processesFor(choice));
    try {
      const records = await RecordFile.open(file, runners[0].setup);
      await runCells(cellsOf(suite), records, runners, suite.draws, maxMinutes);
    } finally {
      await Promise.all(runners.map((runner) => runner.stop()));
    }
  }
  const { markdown, figures } = await renderReport(file);
  await writeFile(join(values.out, `${values.suite}.md`), markdown);
  for (const [name, svg] of Object.entries(figures)) await writeFile(join(values.out, name), svg);
  console.log(markdown);
});

/** One process a core, but for a model of the user's own, which may need all the memory that there is, and for a GPU, which all would share. */
function processesFor({ model }: Choice): number {
  const { executionProviders } = readConfig(process.env);
  return model === undefined && executionProviders.every((name) => name === 'cpu')
    ? availableParallelism()
    : 1;
}

async function startHere(choice: Choice, processes: number): Promise<Runner[]> {
  if (processes === 1) return [await startLocal(choice)];
  return startProcesses(choice, processes, Math.max(1, Math.floor(availableParallelism() / processes)));
}

function integers(name: string, text: string | undefined, minimum: number): number[] | undefined {
  const numbers = text?.split(',').map(Number);
  if (numbers?.some((number) => !Number.isSafeInteger(number) || number < minimum)) {
    throw new Error(`--${name} is "${text}"; it has to be integers >= ${minimum}, with commas between them.`);
  }
  return numbers;
}
