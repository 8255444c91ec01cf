import { type Static, Type } from 'typebox';
import {
  Id,
  Link,
  Name,
  Nullable,
  OneOf,
  OptionalReward,
  Page,
  Prose,
  pageQuery,
  Sampler,
  Seed,
  Timestamp,
  Warning,
} from './common.ts';

const Estimate = Type.Object({ mean: Type.Number(), standardError: Type.Number() });

export const Report = Type.Object(
  {
    draws: Type.Integer({ description: 'fresh draws, never seen by the search' }),
    base: Estimate,
    learned: Estimate,
    gain: Type.Object(
      { mean: Type.Number(), standardError: Type.Number() },
      { description: 'learned minus base, the same noise through both distributions (paired)' },
    ),
    successRate: Type.Number({ description: "share of learned draws above the base's 90th percentile" }),
    diversityRatio: Nullable(
      Type.Number({ description: 'mean pairwise distance of picture features, learned over base' }),
    ),
    meanNorm: Type.Number({ description: 'mean of |z| / sqrt(d) of learned noises; N(0, I) has 1' }),
    terms: Type.Optional(
      Type.Record(Type.String(), Type.Object({ base: Estimate, learned: Estimate }), {
        description:
          'the same for each term of the reward, before weighting; there when the reward is a list',
      }),
    ),
  },
  { $id: 'Report', description: 'how the learned distribution does on fresh draws, against N(0, I)' },
);
export type Report = Static<typeof Report>;

const DistributionSummary = Type.Object({
  kind: OneOf(['gaussian', 'mixture']),
  components: Type.Integer(),
  shape: Type.Array(Type.Integer()),
});

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
    reward: Link(OptionalReward),
    sampler: Link(Sampler),
    optimizer: Nullable(
      Type.Unsafe<Record<string, unknown>>(Type.Object({}, { additionalProperties: true })),
    ),
    seed: Nullable(Seed),
    distribution: DistributionSummary,
    law: Type.Object(DistributionSummary.properties, {
      description: 'the same as `distribution`, by its earlier name',
      deprecated: true,
    }),
    summary: Type.Unsafe<Record<string, unknown>>(
      Type.Object({}, { additionalProperties: true, description: 'what the optimizer says of its result' }),
    ),
    report: Nullable(Link(Report)),
    imagesSpent: Nullable(Type.Integer({ description: 'images of search and report' })),
    seconds: Nullable(
      Type.Number({ description: 'of work on it; a resumed job counts from its checkpoint' }),
    ),
    bytes: Type.Integer(),
    sha256: Type.String(),
    warnings: Type.Array(Link(Warning)),
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

export const PolicyPage = Page(Policy, 'PolicyPage');
export const PolicyQuery = Type.Object(
  { ...pageQuery('pol'), model: Type.Optional(Name) },
  { $id: 'PolicyQuery', additionalProperties: false },
);

export const ImportQuery = Type.Object(
  {
    prompt: Type.Optional(Prose(1, 2000, "the prompt it was learned for; default: the file's own")),
    negativePrompt: Type.Optional(Prose(0, 2000, "default: the file's own, else empty")),
    model: Type.Optional(Name),
    reward: Type.Optional(Name),
  },
  { $id: 'ImportQuery', additionalProperties: false },
);
