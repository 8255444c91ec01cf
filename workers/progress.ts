import type { JobRecord } from '../src/contract/records.ts';
import type { Progress, RewardSummary } from '../src/contract/schemas/progress.ts';
import { scoresByTerm, termNames } from '../src/jobs/choose-bundles.ts';
import { gaussianSmooth, mean } from '../src/numerics/statistics.ts';
import type { Iteration, SearchProgress } from '../src/search/search-loop.ts';
import type { JobPace, RunningJob } from './context.ts';
import { imageId, PREVIEW_OFFSET, storeImage } from './images.ts';

/** Standard deviation of the smoothing of reward curves, in iterations (FIND's appendix, plots). */
const SMOOTHING_SIGMA = 3;

/**
 * The progress of a job, counted in images of its search, its report (base and learned) and its
 * samples.
 */
export function measureProgress(
  record: JobRecord,
  search: SearchProgress,
  stage: Progress['stage'],
  { throughput, workers }: JobPace,
): Progress {
  const images = search.rewards.length;
  const of = record.budget.images;
  const report = 2 * record.reportDraws;
  const left = {
    waiting: of - images + report,
    searching: of - images + report,
    judging: report,
    sampling: 0,
    ended: 0,
  }[stage];
  const imagesLeft = left + (stage === 'ended' ? 0 : record.samples);
  const all = images + imagesLeft + (stage === 'searching' || stage === 'judging' ? 0 : report);
  const imagesPerSecond = throughput.imagesPerSecond();
  return {
    stage,
    iteration: search.iteration,
    images,
    of,
    fraction: stage === 'ended' ? 1 : round(1 - imagesLeft / all),
    secondsLeft: stage === 'ended' || imagesPerSecond === null ? null : round(imagesLeft / imagesPerSecond),
    imagesPerSecond: imagesPerSecond === null ? null : round(imagesPerSecond),
    workers,
  };
}

const round = (value: number) => Math.round(value * 1000) / 1000;

/**
 * Publishes that a running job has reached the next stage.
 * @throws Interruption as `Lease.commit`
 */
export async function publishStage(
  { lease, record, pace }: RunningJob,
  search: SearchProgress,
  stage: 'judging' | 'sampling',
): Promise<void> {
  const progress = measureProgress(record, search, stage, pace);
  const events = [{ type: 'status', data: { status: 'running', stage } }];
  await lease.commit({ set: { progress }, events }, ['running']);
}

/**
 * Publishes an iteration: rewards, their summary, the progress and the events in one change. A new
 * best picture is stored as a preview first.
 * @throws Interruption as `Lease.commit`
 */
export async function publishIteration(
  job: RunningJob,
  { progress, rewards, terms, newBest }: Iteration,
): Promise<void> {
  const { context, lease, record, pace } = job;
  const { iteration, means } = progress;
  const summary: RewardSummary = {
    best: progress.rewards[progress.bestIndex],
    mean: mean(progress.rewards),
    latest: means[means.length - 1],
    smoothed: gaussianSmooth(means, SMOOTHING_SIGMA)[means.length - 1],
  };
  const names = termNames(record.reward);
  const jobProgress = measureProgress(record, progress, 'searching', pace);
  const events: { type: string; data: unknown; sequence: number }[] = [
    {
      type: 'iteration',
      sequence: iteration,
      data: {
        iteration,
        rewards,
        ...(names ? { terms: terms.map((scores) => scoresByTerm(names, scores)) } : {}),
        mean: summary.latest,
        summary,
        progress: jobProgress,
      },
    },
  ];
  let previewUrl: string | undefined;
  if (newBest) {
    const id = imageId(lease.id, PREVIEW_OFFSET + iteration);
    await storeImage(context, {
      id,
      parentId: lease.id,
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
  await lease.commit(
    {
      set: { progress: jobProgress, rewards: summary, ...(previewUrl ? { previewUrl } : {}) },
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
