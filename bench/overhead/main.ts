import { cpus } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { STREAMS } from '../../src/core/noise.ts';
import { DiffusionModel } from '../../src/engine/diffusion-model.ts';
import { quantile } from '../../src/numerics/statistics.ts';
import { OVERHEAD_CASES, type OverheadCase, STUB_REWARD_GRAPHS, specOf } from './cases.ts';
import { cardMilliseconds, printJobs } from './jobs.ts';
import { registerStubProvider, STUB_PROVIDER } from './stub-provider.ts';

/**
 * `npm run bench:overhead -- [--rounds 5] [--schedulers ddim,euler,...]`: the time of the engine's
 * own work, by batch size. The engine is the one that jobs use, in float16, from token ids to
 * pictures; its graphs answer at once. With `--schedulers`, only Stable Diffusion 1.5 is measured,
 * with each of them. A second table has several jobs on one modeled card.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, schedulers: { type: 'string' } },
});
const rounds = Number(values.rounds);
let cardTime = 0;
registerStubProvider(
  Object.assign({ ...STUB_REWARD_GRAPHS }, ...OVERHEAD_CASES.map(({ graphs }) => graphs)),
  (path, batch) => {
    cardTime += cardMilliseconds(path, batch);
  },
);

/** Schedulers that are measured besides those of the models. */
const LINEAR_SCHEDULERS = ['ddim', 'euler', 'dpmsolver++', 'unipc'];
const [stableDiffusion] = OVERHEAD_CASES;
const cases: readonly OverheadCase[] = values.schedulers
  ? values.schedulers.split(',').map((scheduler) => withScheduler(stableDiffusion, scheduler))
  : [
      ...OVERHEAD_CASES,
      ...LINEAR_SCHEDULERS.map((name) => ({ ...withScheduler(stableDiffusion, name), batchSizes: [8] })),
    ];
console.log(
  `${cpus()[0].model.trim()}, one thread, Node.js ${process.version}; ` +
    `median of ${rounds} rounds (minimum to maximum)\n`,
);
const HEADER = [
  ...['model', 'scheduler', 'batch'],
  ...['ms a step', 'processor', 'target'],
  ...['ms a batch', 'processor', 'target'],
];
console.log(`| ${HEADER.join(' | ')} |\n|${' --- |'.repeat(HEADER.length)}`);
for (const one of cases) {
  const model = await DiffusionModel.open(one.model, {
    executionProviders: [STUB_PROVIDER],
    threads: 1,
    batchSize: 8,
  });
  for (const batchSize of one.batchSizes) {
    const times: Times[] = [];
    for (let round = 0; round <= rounds; round++) times.push(await measure(model, one, batchSize, round));
    // The first round compiles.
    const counted = times.slice(1);
    const target = one.targets[batchSize] ?? {};
    const cells = [
      one.name,
      one.sampler.scheduler,
      batchSize,
      ...(['step', 'batch'] as const).flatMap((part) => [
        spread(counted.map(({ wall }) => wall[part])),
        spread(counted.map(({ processor }) => processor[part])),
        target[part] ?? '',
      ]),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  await model.release();
}
if (!values.schedulers) await printJobs(rounds, () => cardTime);

/** Times in ms. */
interface Parts {
  /** From one run of the denoiser to the next, on average. */
  readonly step: number;
  /** The rest of the batch: texts, noises and pictures. */
  readonly batch: number;
}

interface Times {
  readonly wall: Parts;
  /** Processor time of this thread, which other programs on the machine hardly change. */
  readonly processor: Parts;
}

/** Makes one batch. */
async function measure(
  model: DiffusionModel,
  one: OverheadCase,
  batchSize: number,
  round: number,
): Promise<Times> {
  const noises = Array.from({ length: batchSize }, (_, index) => ({
    key: { seed: round, stream: STREAMS.samples, index },
  }));
  // The time before each run of the denoiser, and before that of the decoder.
  const runs: Clocks[] = [];
  const began = readClocks();
  await model.generate(specOf(one, round), noises, async () => {
    await nextTurn();
    runs.push(readClocks());
  });
  const ended = readClocks();
  const parts = (clock: keyof Clocks): Parts => {
    const inSteps = runs[runs.length - 1][clock] - runs[0][clock];
    return { step: inSteps / (runs.length - 1), batch: ended[clock] - began[clock] - inSteps };
  };
  return { wall: parts('wall'), processor: parts('processor') };
}

interface Clocks {
  readonly wall: number;
  readonly processor: number;
}

/** Both clocks in ms; `processor` is NaN before Node.js 22.19. */
function readClocks(): Clocks {
  const used = process.threadCpuUsage?.();
  return { wall: performance.now(), processor: used ? (used.user + used.system) / 1000 : Number.NaN };
}

function spread(times: readonly number[]): string {
  const [median, minimum, maximum] = [0.5, 0, 1].map((q) => quantile(times, q).toFixed(2));
  return `${median} (${minimum} to ${maximum})`;
}

function withScheduler(one: OverheadCase, scheduler: string): OverheadCase {
  return { ...one, sampler: { ...one.sampler, scheduler } };
}
