import { type Static, Type } from 'typebox';
import { Nullable, OneOf } from './common.ts';

/** How far a job is. */
export const Progress = Type.Object(
  {
    stage: OneOf(['waiting', 'searching', 'judging', 'sampling', 'ended']),
    iteration: Type.Integer(),
    images: Type.Integer({ description: 'images that the search has made' }),
    of: Type.Integer({ description: 'images that the search may make' }),
    fraction: Type.Number({
      minimum: 0,
      maximum: 1,
      description: 'share of all the work that is done: search, report and samples',
    }),
    secondsLeft: Nullable(Type.Number()),
    imagesPerSecond: Nullable(Type.Number()),
    workers: Type.Integer({
      description: 'workers that evaluated the latest noises; 0 before the first, at most `parallelism`',
    }),
  },
  { $id: 'Progress' },
);
export type Progress = Static<typeof Progress>;

/** Rewards of a search. */
export const RewardSummary = Type.Object(
  {
    best: Type.Number({
      description: 'highest reward in the search; the reward of a new sample is usually lower',
    }),
    mean: Type.Number({ description: 'mean of the search' }),
    latest: Type.Number({ description: 'mean of the latest iteration' }),
    smoothed: Type.Number({ description: 'mean of the latest iterations with Gaussian weights' }),
  },
  { $id: 'RewardSummary' },
);
export type RewardSummary = Static<typeof RewardSummary>;
