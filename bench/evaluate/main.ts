import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runMain } from '../../src/cli/run-main.ts';
import { readConfig } from '../../src/config/config.ts';
import { startLocalRunner } from './local-runner.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { startProcessRunners } from './process-runners.ts';
import { RecordFile } from './records.ts';
import { renderReport } from './report.ts';
import { runCells } from './run-cells.ts';
import type { Runner, RunSettings } from './runner.ts';
import { startServiceRunner } from './service-runner.ts';
import { cellsOf, SUITES, type Suite } from './suites.ts';

const USAGE = `npm run evaluate -- --suite NAME [options]

  --suite NAME        one of ${Object.keys(SUITES).join(', ')}
  --out FOLDER        folder of NAME.jsonl, NAME.md and figures (default: evaluation); runs that it
                      has are not repeated
  --prompt TEXT       replaces the suite's prompts; may be repeated
  --optimizers A,B    replaces the suite's optimizers: name or name:parameter=value:parameter=value
  --seeds 1,2         replaces the suite's seeds
  --budgets 50,150    replaces the suite's budgets
  --samples N         held-out samples of each distribution
  --model NAME        model (default: the first installed one)
  --reward NAME       reward (default: that of the model)
  --unseen NAME       scorer that no search uses (default: stickers-unseen; "none": without one)
  --service URL       run cells as jobs of this service instead of on this machine
  --processes N       processes that share the cores (default: one for each core for the embedded
                      model on the CPU, else 1)
  --max-minutes N     begin no further run after this time
  --report            only write the report of the existing runs`;

/** `npm run evaluate`: runs a suite and writes its report. */
await runMain(async () => {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string', default: 'quick' },
      out: { type: 'string', default: 'evaluation' },
      prompt: { type: 'string', multiple: true },
      optimizers: { type: 'string' },
      seeds: { type: 'string' },
      budgets: { type: 'string' },
      samples: { type: 'string' },
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
    throw new Error(`There is no suite "${values.suite}"; it takes ${Object.keys(SUITES).join(', ')}.`);
  const suite: Suite = {
    prompts: values.prompt ?? named.prompts,
    optimizers: values.optimizers?.split(',') ?? named.optimizers,
    seeds: integers('seeds', values.seeds, 0) ?? named.seeds,
    budgets: integers('budgets', values.budgets, 1) ?? named.budgets,
    samples: integers('samples', values.samples, 2)?.[0] ?? named.samples,
  };
  for (const optimizer of suite.optimizers) parseOptimizer(optimizer);
  const maxMinutes =
    values['max-minutes'] === undefined ? Number.POSITIVE_INFINITY : Number(values['max-minutes']);
  if (!(maxMinutes > 0))
    throw new Error(`--max-minutes is "${values['max-minutes']}"; it takes a number above 0.`);
  await mkdir(values.out, { recursive: true });
  const file = join(values.out, `${values.suite}.jsonl`);

  if (!values.report) {
    const settings = {
      suite: values.suite,
      model: values.model,
      reward: values.reward,
      unseen: values.unseen === 'none' ? null : values.unseen,
      samples: suite.samples,
    };
    const runners = values.service
      ? [await startServiceRunner(values.service, settings)]
      : await startHere(settings, integers('processes', values.processes, 1)?.[0] ?? processesFor(settings));
    try {
      const records = await RecordFile.open(file, runners[0].setup);
      await runCells(cellsOf(suite), records, runners, suite.samples, maxMinutes);
    } finally {
      await Promise.all(runners.map((runner) => runner.stop()));
    }
  }
  const { markdown, figures } = await renderReport(file);
  await writeFile(join(values.out, `${values.suite}.md`), markdown);
  for (const [name, svg] of Object.entries(figures)) await writeFile(join(values.out, name), svg);
  console.log(markdown);
});

/**
 * One process for each core; one process for another model, which may need all memory, and for a
 * GPU.
 */
function processesFor({ model }: RunSettings): number {
  const { executionProviders } = readConfig(process.env);
  return model === undefined && executionProviders.every((name) => name === 'cpu')
    ? availableParallelism()
    : 1;
}

async function startHere(settings: RunSettings, processes: number): Promise<Runner[]> {
  if (processes === 1) return [await startLocalRunner(settings)];
  return startProcessRunners(
    settings,
    processes,
    Math.max(1, Math.floor(availableParallelism() / processes)),
  );
}

function integers(name: string, text: string | undefined, minimum: number): number[] | undefined {
  const numbers = text?.split(',').map(Number);
  if (numbers?.some((number) => !Number.isSafeInteger(number) || number < minimum)) {
    throw new Error(`--${name} is "${text}"; it takes integers from ${minimum} on, separated by commas.`);
  }
  return numbers;
}
