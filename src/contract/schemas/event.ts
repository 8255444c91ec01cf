import { type Static, type TSchema, Type } from 'typebox';
import { Link, OneOf, TermScores } from './common.ts';
import { JOB_STATUSES, Job, Progress, RewardSummary } from './job.ts';

/** What GET /v1/jobs/{id}/events sends: `event:` is the key, `data:` the object. */
const JobEvents = Type.Object({
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
});
export type JobEvents = Static<typeof JobEvents>;
export type JobEventType = keyof JobEvents;

/** One of them, by its fields; `data` is a text that holds the object, as server-sent events have it. */
export const JobEvent = Type.Union(
  Object.entries(JobEvents.properties).map(([event, schema]: [string, TSchema]) =>
    Type.Object({
      id: Type.String({ description: 'for `Last-Event-ID`' }),
      event: Type.Literal(event),
      data: Type.String({ contentMediaType: 'application/json', contentSchema: schema }),
    }),
  ),
  { $id: 'JobEvent' },
);
