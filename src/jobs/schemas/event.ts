import { type Static, Type } from 'typebox';
import { Link, OneOf, TermScores } from './common.ts';
import { JOB_STATUSES, Job, Progress, RewardSummary } from './job.ts';

/** What GET /v1/jobs/{id}/events sends: `event:` is the key, `data:` the object. */
export const JobEvents = Type.Object(
  {
    status: Type.Object({ status: OneOf(JOB_STATUSES), stage: Progress.properties.stage }),
    iteration: Type.Object({
      iteration: Type.Integer(),
      rewards: Type.Array(Type.Number({ description: 'of its draws, in order' })),
      terms: Type.Optional(Type.Array(TermScores)),
      mean: Type.Number(),
      summary: Link(RewardSummary),
      progress: Link(Progress),
    }),
    preview: Type.Object({ iteration: Type.Integer(), reward: Type.Number(), url: Type.String() }),
    done: Link(Job),
  },
  { $id: 'JobEvents' },
);
export type JobEvents = Static<typeof JobEvents>;
export type JobEventType = keyof JobEvents;
