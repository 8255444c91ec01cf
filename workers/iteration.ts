import type { RewardSummary } from '../src/contract/schemas/job.ts';
import { byName, termNames } from '../src/jobs/resolve-bundles.ts';
import { gaussianSmooth, mean } from '../src/numerics/statistics.ts';
import type { Iteration } from '../src/search/run-search.ts';
import { imageId, PREVIEW_OFFSET, storeImage } from './images.ts';
import { progressOf } from './progress.ts';
import type { RunningJob } from './running-job.ts';

/** Width of the smoothing of reward curves, in iterations (as in the plots of FIND's appendix). */
const SIGMA = 3;

/** Tells the world of an iteration: rewards, summary and progress in one change, and a preview of a new best picture. */
export async function publishIteration(
  { context, lease: claim, record }: RunningJob,
  { progress, rewards, terms, newBest }: Iteration,
): Promise<void> {
  const { iteration, means } = progress;
  const summary: RewardSummary = {
    best: progress.rewards[progress.bestIndex],
    mean: mean(progress.rewards),
    latest: means[means.length - 1],
    smoothed: gaussianSmooth(means, SIGMA)[means.length - 1],
  };
  const names = termNames(record.reward);
  const now = progressOf(record, progress, 'searching', context.throughput);
  const events: { type: string; data: unknown; sequence: number }[] = [
    {
      type: 'iteration',
      sequence: iteration,
      data: {
        iteration,
        rewards,
        ...(names ? { terms: terms.map((scores) => byName(names, scores)) } : {}),
        mean: summary.latest,
        summary,
        progress: now,
      },
    },
  ];
  let previewUrl: string | undefined;
  if (newBest) {
    const id = imageId(claim.id, PREVIEW_OFFSET + iteration);
    await storeImage(context, {
      id,
      parentId: claim.id,
      tenant: record.tenant,
      picture: newBest,
      format: 'png',
    });
    previewUrl = `/v1/images/${id}`;
    events.push({
      type: 'preview',
      sequence: iteration,
      data: { iteration, reward: summary.best, url: previewUrl },
    });
  }
  await claim.commit(
    {
      set: { progress: now, rewards: summary, ...(previewUrl ? { previewUrl } : {}) },
      rewards: {
        offset: progress.rewards.length - rewards.length,
        iteration,
        values: rewards,
        ...(names ? { terms } : {}),
      },
      events,
    },
    ['running'],
  );
}
