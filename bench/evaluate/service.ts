import { Client } from '../../src/client/client.ts';
import type { Job, Progress } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { parseOptimizer } from './optimizer-spec.ts';
import { type Cell, type Run, rounded } from './record.ts';
import type { Choice, Runner } from './runner.ts';

/** Runs cells as jobs of a running service, and takes their figures from its reports: what a user of it would see. */
export async function startService(url: string, choice: Choice): Promise<Runner> {
  const client = new Client(url);
  // What the service fills in is known once it has accepted a job; the setup has to be known before: a tiny one tells.
  const probe = await client.createJob({
    prompt: 'a dog',
    model: choice.model,
    reward: choice.reward,
    budget: { images: 1 },
    reportDraws: 0,
  });
  const { scheduler, steps, guidanceScale, eta } = probe.sampler;

  return {
    setup: {
      type: 'setup',
      suite: choice.suite,
      model: probe.model,
      reward:
        typeof probe.reward === 'string' ? probe.reward : probe.reward.map(({ name }) => name).join(' + '),
      unseen: choice.unseen,
      sampler: { scheduler, steps, guidanceScale, eta },
      draws: choice.draws,
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
        reportDraws: choice.draws,
      });
      let images = 0;
      const job = await client.follow(queued, (type, data) => {
        if (type !== 'progress') return;
        const now = (data as { progress?: Progress }).progress?.images ?? images;
        onImages(now - images);
        images = now;
      });
      const seconds = (performance.now() - began) / 1000;
      if (job.status !== 'succeeded' || !job.report) {
        throw new Error(`Job ${job.id} ended as ${job.status}: ${job.error?.detail ?? 'it has no report'}`);
      }
      const { report } = job;
      const { unseen } = choice;
      return {
        type: 'run',
        ...cell,
        base: rounded(report.base.mean),
        learned: rounded(report.learned.mean),
        success: rounded(report.successRate),
        diversity: report.diversityRatio === null ? null : rounded(report.diversityRatio),
        norm: rounded(report.meanNorm),
        unseenBase:
          unseen === null
            ? null
            : scores(
                await client.sample('/v1/samples', { ...like(job), count: choice.draws, reward: unseen }),
              ),
        unseenLearned:
          unseen === null
            ? null
            : scores(
                await client.sample(`/v1/policies/${job.policyId}/samples`, {
                  count: choice.draws,
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
  const { rewards } = JSON.parse(text) as { rewards: number[] };
  return rewards.map(rounded);
}
