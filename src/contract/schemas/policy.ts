import { type Static, Type } from 'typebox';
import {
  FreeText,
  Id,
  Name,
  Nullable,
  OneOf,
  OptionalReward,
  Page,
  pageQuery,
  Ref,
  Sampler,
  Seed,
  Timestamp,
  Warning,
} from './common.ts';

/** A mean and its standard error. */
const Estimate = Type.Object({ mean: Type.Number(), standardError: Type.Number() });

/** Comparison of the learned distribution with N(0, I) on new samples. */
export const Report = Type.Object(
  {
    draws: Type.Integer({ description: 'new samples of each distribution, which the search has not seen' }),
    base: Estimate,
    learned: Estimate,
    gain: Type.Object(
      { mean: Type.Number(), standardError: Type.Number() },
      { description: 'learned minus base, paired: both distributions transform the same noises' },
    ),
    successRate: Type.Number({
      description: 'share of learned samples whose reward is above the 90th percentile of the base',
    }),
    diversityRatio: Nullable(
      Type.Number({ description: 'mean pairwise distance of picture features: learned divided by base' }),
    ),
    meanNorm: Type.Number({
      description: 'mean of |z| / sqrt(d) of learned noises z of dimension d; about 1 for N(0, I)',
    }),
    terms: Type.Optional(
      Type.Record(Type.String(), Type.Object({ base: Estimate, learned: Estimate }), {
        description: 'scores of each term before weighting; present when the reward is a list',
      }),
    ),
  },
  { $id: 'Report', description: 'comparison of the learned distribution with N(0, I) on new samples' },
);
export type Report = Static<typeof Report>;

/** The learned distribution, without its parameters. */
const DistributionSummary = Type.Object({
  kind: OneOf(['gaussian', 'mixture']),
  components: Type.Integer(),
  shape: Type.Array(Type.Integer()),
});

/** A policy as clients see it (`viewPolicy`): a learned distribution for one prompt. */
export const Policy = Type.Object(
  {
    object: Type.Literal('policy'),
    id: Id('pol', 'the policy'),
    createdAt: Timestamp,
    origin: OneOf(['job', 'import']),
    jobId: Nullable(Id('job', 'the job that learned it')),
    prompt: Type.String(),
    negativePrompt: Type.String(),
    model: Name,
    reward: Ref(OptionalReward),
    sampler: Ref(Sampler),
    optimizer: Nullable(
      Type.Unsafe<Record<string, unknown>>(Type.Object({}, { additionalProperties: true })),
    ),
    seed: Nullable(Seed),
    distribution: DistributionSummary,
    law: Type.Object(DistributionSummary.properties, {
      description: 'alias: the earlier name of `distribution`',
      deprecated: true,
    }),
    summary: Type.Unsafe<Record<string, unknown>>(
      Type.Object({}, { additionalProperties: true, description: 'remarks of the optimizer on its result' }),
    ),
    report: Nullable(Ref(Report)),
    imagesSpent: Nullable(Type.Integer({ description: 'images that search and report made' })),
    seconds: Nullable(
      Type.Number({ description: 'time of the work on it; a resumed job counts from its checkpoint' }),
    ),
    bytes: Type.Integer(),
    sha256: Type.String(),
    warnings: Type.Array(Ref(Warning)),
    urls: Type.Object({
      self: Type.String(),
      parameters: Type.String(),
      samples: Type.String(),
      job: Nullable(Type.String()),
    }),
  },
  { $id: 'Policy' },
);
export type Policy = Static<typeof Policy>;

/** Response of GET /v1/policies. */
export const PolicyPage = Page(Policy, 'PolicyPage');
/** Query of GET /v1/policies. */
export const PolicyQuery = Type.Object(
  { ...pageQuery('pol'), model: Type.Optional(Name) },
  { $id: 'PolicyQuery', additionalProperties: false },
);

/** Query of POST /v1/policies, which imports a policy file. */
export const ImportQuery = Type.Object(
  {
    prompt: Type.Optional(
      FreeText(1, 2000, 'the prompt that the policy was learned for; default: that of the file'),
    ),
    negativePrompt: Type.Optional(FreeText(0, 2000, 'default: that of the file, or empty')),
    model: Type.Optional(Name),
    reward: Type.Optional(Name),
  },
  { $id: 'ImportQuery', additionalProperties: false },
);
