import { BatchSizes } from '../../src/engine/batch-sizes.ts';
import { DiffusionModel } from '../../src/engine/diffusion-model.ts';
import type { EvaluationServices } from '../../src/engine/evaluation.ts';
import { EvaluationQueue } from '../../src/engine/evaluation-queue.ts';
import { RewardModel } from '../../src/engine/reward-model.ts';
import { TaskQueue } from '../../src/engine/task-queue.ts';
import { quantile } from '../../src/numerics/statistics.ts';
import { OVERHEAD_CASES, STUB_REWARD, specOf } from './cases.ts';
import { STUB_PROVIDER } from './stub-provider.ts';

const OPTIONS = { executionProviders: [STUB_PROVIDER], threads: 1, batchSize: 8 };
const STEPS = 20;
/** Stable Diffusion 1.5. */
const [CASE] = OVERHEAD_CASES;

/** A job asks for noises, waits for their scores, and asks again. */
interface ModeledJob {
  readonly noises: number;
  readonly times: number;
}

/** Ways to make 32 pictures, the first of which is the measure. */
const WAYS: readonly {
  readonly name: string;
  readonly jobs: readonly ModeledJob[];
  readonly shared: boolean;
}[] = [
  { name: 'one job that asks for 8', jobs: [{ noises: 8, times: 4 }], shared: true },
  { name: 'two jobs that ask for 4', jobs: twice({ noises: 4, times: 4 }), shared: true },
  { name: 'two jobs that ask for 4, no sharing', jobs: twice({ noises: 4, times: 4 }), shared: false },
  { name: 'two jobs that ask for 8', jobs: twice({ noises: 8, times: 2 }), shared: true },
];

function twice(job: ModeledJob): readonly ModeledJob[] {
  return [job, job];
}

/**
 * Milliseconds of a run on the modeled card: a fixed part, and one for each row or picture. An
 * assumption, near an H100: 40 ms for the UNet at 16 rows. The rest of the time is measured.
 */
export function cardMilliseconds(path: string, batch: number): number {
  if (path.endsWith('unet')) return 8 + 2 * batch;
  if (path.endsWith('vae')) return 5 + 8 * batch;
  return path.endsWith('reward') ? 3 + 2 * batch : 2;
}

/**
 * Prints how long jobs take beside each other on one modeled card. The engine's own work and the
 * card take turns, as `session.run` blocks its thread, so the time is the sum of this thread's
 * processor time and of the card's. Neither depends on what else the machine does.
 * @param cardTime the card's milliseconds since the start
 */
export async function printJobs(rounds: number, cardTime: () => number): Promise<void> {
  const model = await DiffusionModel.open(CASE.model, OPTIONS);
  const reward = await RewardModel.open(STUB_REWARD, OPTIONS);
  const times = WAYS.map((): { readonly own: number; readonly card: number }[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { jobs, shared }] of WAYS.entries()) {
      const [processor, card] = [process.threadCpuUsage(), cardTime()];
      await runJobs(model, reward, jobs, shared);
      const used = process.threadCpuUsage(processor);
      // The first round compiles.
      if (round > 0) times[i].push({ own: (used.user + used.system) / 1000, card: cardTime() - card });
    }
  }
  console.log('\n| 32 pictures, 20 steps, a reward | ms on the card | own ms | sum against the first |');
  console.log('| --- | --- | --- | --- |');
  for (const [i, { name }] of WAYS.entries()) {
    const ratios = times[i].map(({ own, card }, round) => {
      const first = times[0][round];
      return (own + card) / (first.own + first.card);
    });
    const [own, card] = [
      quantile(
        times[i].map((one) => one.own),
        0.5,
      ),
      times[i][0].card,
    ];
    console.log(`| ${name} | ${card.toFixed(0)} | ${own.toFixed(0)} | ${quantile(ratios, 0.5).toFixed(2)} |`);
  }
  await model.release();
  await reward.release();
}

async function runJobs(
  model: DiffusionModel,
  reward: RewardModel,
  jobs: readonly ModeledJob[],
  sharedBatches: boolean,
): Promise<void> {
  const answers = new Map<number, PromiseWithResolvers<void>>();
  const services: EvaluationServices = {
    batchSizes: new BatchSizes({ ...OPTIONS, padBatches: true, sharedBatches }),
    open: async (_, rewards) => ({ model, rewards: rewards.map(() => reward) }),
    recover: async (_spec, _size, error) => {
      throw error;
    },
    send: (response) => {
      if (response.type === 'done') answers.get(response.id)?.resolve();
    },
    fail: (id, error) => answers.get(id)?.reject(error),
  };
  const queue = new EvaluationQueue(services, new TaskQueue(services.fail));
  const run = async (job: ModeledJob, prompt: number) => {
    const spec = { ...specOf(CASE, prompt), rewards: [STUB_REWARD], rewardTexts: [null] };
    for (let time = 0; time < job.times; time++) {
      const id = answers.size + 1;
      answers.set(id, Promise.withResolvers());
      queue.add({
        type: 'evaluate',
        id,
        spec: { ...spec, sampler: { ...spec.sampler, steps: STEPS } },
        noises: Array.from({ length: job.noises }, (_, index) => ({ key: { seed: id, stream: 0, index } })),
        scores: true,
        pictures: true,
        cancel: new SharedArrayBuffer(4),
      });
      await answers.get(id)?.promise;
    }
  };
  await Promise.all(jobs.map(run));
}
