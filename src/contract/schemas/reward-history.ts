import { type Static, Type } from 'typebox';
import { Id, TermScores } from './common.ts';

/** The reward of one image of a search. */
export const RewardPoint = Type.Object({
  image: Type.Integer({ minimum: 1 }),
  iteration: Type.Integer({ minimum: 1 }),
  reward: Type.Number(),
  terms: Type.Optional(TermScores),
});
export type RewardPoint = Static<typeof RewardPoint>;
/** Response of GET /v1/jobs/{id}/rewards. */
export const RewardHistory = Type.Object(
  {
    jobId: Id('job', 'the job'),
    sigma: Type.Number({
      description: 'standard deviation, in iterations, of the Gaussian that smooths the means',
    }),
    data: Type.Array(RewardPoint),
    iterations: Type.Array(
      Type.Object({ iteration: Type.Integer(), mean: Type.Number(), smoothed: Type.Number() }),
    ),
  },
  { $id: 'RewardHistory' },
);
export type RewardHistory = Static<typeof RewardHistory>;
