import type { JobRecord } from '../src/contract/records.ts';
import type { Progress } from '../src/contract/schemas/job.ts';
import type { SearchProgress } from '../src/search/run-search.ts';
import type { Throughput } from './throughput.ts';

/** How far a job is, in images of all its parts: search, report (base and learned), samples. */
export function progressOf(
  record: JobRecord,
  search: SearchProgress,
  stage: Progress['stage'],
  throughput: Throughput,
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
  };
}

const round = (value: number) => Math.round(value * 1000) / 1000;
