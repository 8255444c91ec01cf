import { Client } from '../../src/client/client.ts';
import type { JobEvents } from '../../src/contract/schemas/event.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { RewardHistory } from '../../src/contract/schemas/reward-history.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { type Cell, fromReport, type Run, rounded } from './records.ts';
import type { Runner, RunSettings } from './runner.ts';

/** Runs cells as jobs of a running service. Results come from the reports of the jobs. */
export async function startServiceRunner(url: string, settings: RunSettings): Promise<Runner> {
  const client = new Client(url);
  // The setup needs the service's defaults before the first run. A job of one image shows them.
  const probe = await client.createJob({
    prompt: 'a dog',
    model: settings.model,
    reward: settings.reward,
    budget: { images: 1 },
    reportDraws: 0,
  });
  const { scheduler, steps, guidanceScale, eta } = probe.sampler;

  return {
    setup: {
      type: 'setup',
      suite: settings.suite,
      model: probe.model,
      reward:
        typeof probe.reward === 'string' ? probe.reward : probe.reward.map(({ name }) => name).join(' + '),
      unseen: settings.unseen,
      sampler: { scheduler, steps, guidanceScale, eta },
      draws: settings.samples,
    },
    async run(cell: Cell, onImages): Promise<Run> {
      const { prompt, seed, budget } = cell;
      const began = performance.now();
      const queued = await client.createJob({
        prompt,
        model: probe.model,
        reward: probe.reward,
        optimizer: parseOptimizer(cell.optimizer),
        budget: { images: budget },
        seed,
        reportDraws: settings.samples,
      });
      let images = 0;
      const job = await client.follow(queued, (type, data) => {
        if (type !== 'iteration') return;
        const now = (data as JobEvents['iteration']).progress.images;
        onImages(now - images);
        images = now;
      });
      const seconds = (performance.now() - began) / 1000;
      if (job.status !== 'succeeded' || !job.report) {
        throw new Error(`Job ${job.id} ended as ${job.status}: ${job.error?.detail ?? 'it has no report'}`);
      }
      const { report } = job;
      const { unseen } = settings;
      return {
        type: 'run',
        ...cell,
        ...fromReport(report),
        unseenBase:
          unseen === null
            ? null
            : scores(
                await client.sample('/v1/samples', { ...like(job), count: settings.samples, reward: unseen }),
              ),
        unseenLearned:
          unseen === null
            ? null
            : scores(
                await client.sample(`/v1/policies/${job.policyId}/samples`, {
                  count: settings.samples,
                  seed,
                  reward: unseen,
                }),
              ),
        search: await searchRewards(client, job),
        seconds: rounded(seconds),
      };
    },
    stop: async () => {},
  };
}

const like = ({ prompt, model, seed }: Job) => ({ prompt, model, seed });

const scores = (sample: Sample): number[] =>
  sample.images.map(({ reward }) => {
    if (reward === null) throw new Error(`Sample ${sample.id} has a picture without a score.`);
    return rounded(reward);
  });

async function searchRewards(client: Client, job: Job): Promise<number[]> {
  const text = new TextDecoder().decode(await client.bytes(job.urls.rewards));
  const { data } = JSON.parse(text) as RewardHistory;
  return data.map(({ reward }) => rounded(reward));
}
