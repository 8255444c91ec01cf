import { type Static, type TSchema, Type } from 'typebox';
import { OneOf, Ref, TermScores } from './common.ts';
import { JOB_STATUSES, Job } from './job.ts';
import { Progress, RewardSummary } from './progress.ts';

/**
 * Server-sent events of GET /v1/jobs/{id}/events: the key is their `event`, the object their
 * `data`.
 */
const JobEvents = Type.Object({
  status: Type.Object({ status: OneOf(JOB_STATUSES), stage: Progress.properties.stage }),
  iteration: Type.Object({
    iteration: Type.Integer(),
    rewards: Type.Array(Type.Number({ description: 'rewards of its noises, in order' })),
    terms: Type.Optional(Type.Array(TermScores)),
    mean: Type.Number(),
    summary: Ref(RewardSummary),
    progress: Ref(Progress),
  }),
  preview: Type.Object({ iteration: Type.Integer(), reward: Type.Number(), url: Type.String() }),
  done: Ref(Job),
});
/** Data of each type of event. */
export type JobEvents = Static<typeof JobEvents>;
export type JobEventType = keyof JobEvents;

/** One event with the fields of a server-sent event; its `data` is the JSON of the object. */
export const JobEvent = Type.Union(
  Object.entries(JobEvents.properties).map(([event, schema]: [string, TSchema]) =>
    Type.Object({
      id: Type.String({
        description: 'position; a client that sends it as `Last-Event-ID` gets the events after it',
      }),
      event: Type.Literal(event),
      data: Type.String({ contentMediaType: 'application/json', contentSchema: schema }),
    }),
  ),
  { $id: 'JobEvent' },
);
