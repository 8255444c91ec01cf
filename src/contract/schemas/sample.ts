import { type Static, Type } from 'typebox';
import {
  AskedOptionalReward,
  Id,
  Link,
  Metadata,
  Name,
  Nullable,
  OneOf,
  OptionalReward,
  Problem,
  Prose,
  Sampler,
  SamplerRequest,
  Seed,
  TermScores,
  Timestamp,
  Warning,
} from './common.ts';
import { PRIORITIES } from './job.ts';

export const SAMPLE_STATUSES = ['queued', 'running', 'succeeded', 'failed'] as const;
export const FORMATS = ['png', 'webp', 'jpeg'] as const;

const drawing = {
  count: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 64, default: 4, description: 'images to return' }),
  ),
  bestOf: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 256,
      description: 'draw so many and return the `count` with the highest reward; at least `count`',
    }),
  ),
  seed: Type.Optional(Seed),
  steps: Type.Optional(SamplerRequest.properties.steps),
  guidanceScale: Type.Optional(SamplerRequest.properties.guidanceScale),
  scheduler: Type.Optional(Name),
  eta: Type.Optional(SamplerRequest.properties.eta),
  clipSkip: Type.Optional(SamplerRequest.properties.clipSkip),
  width: Type.Optional(SamplerRequest.properties.width),
  height: Type.Optional(SamplerRequest.properties.height),
  format: Type.Optional(OneOf(FORMATS, { default: 'png' })),
  priority: Type.Optional(
    OneOf(PRIORITIES, { description: 'waiting requests of a higher priority go first' }),
  ),
  metadata: Type.Optional(Metadata),
};

export const PolicySampleRequest = Type.Object(
  {
    reward: Type.Optional(AskedOptionalReward),
    ...drawing,
  },
  {
    $id: 'PolicySampleRequest',
    additionalProperties: false,
    description: "what is left out is the policy's own",
  },
);
export type PolicySampleRequest = Static<typeof PolicySampleRequest>;

export const SampleRequest = Type.Object(
  {
    prompt: Prose(1, 2000, 'what the pictures should show'),
    negativePrompt: Type.Optional(Prose(0, 2000, 'what they should not show')),
    model: Type.Optional(Name),
    reward: Type.Optional(AskedOptionalReward),
    ...drawing,
  },
  { $id: 'SampleRequest', additionalProperties: false },
);
export type SampleRequest = Static<typeof SampleRequest>;

export const Image = Type.Object(
  {
    id: Id('img', 'the image'),
    url: Type.String(),
    seed: Seed,
    index: Type.Integer({
      minimum: 0,
      description: 'which draw of the seed; the pair makes the image again',
    }),
    reward: Nullable(Type.Number()),
    terms: Type.Optional(TermScores),
    width: Type.Integer(),
    height: Type.Integer(),
    format: OneOf(FORMATS),
  },
  { $id: 'Image' },
);
export type Image = Static<typeof Image>;

/** Every value that a sample batch depends on. */
export const SampleSettings = Type.Object({
  policyId: Nullable(Id('pol', 'the policy drawn from; null: N(0, I)')),
  prompt: Type.String(),
  negativePrompt: Type.String(),
  model: Name,
  reward: Link(OptionalReward),
  sampler: Link(Sampler),
  seed: Seed,
  count: Type.Integer(),
  bestOf: Type.Integer(),
  format: OneOf(FORMATS),
  priority: OneOf(PRIORITIES),
  metadata: Metadata,
});
export type SampleSettings = Static<typeof SampleSettings>;

export const Sample = Type.Object(
  {
    object: Type.Literal('sample'),
    id: Id('smp', 'the sample batch'),
    status: OneOf(SAMPLE_STATUSES),
    createdAt: Timestamp,
    startedAt: Nullable(Timestamp),
    finishedAt: Nullable(Timestamp),
    ...SampleSettings.properties,
    images: Type.Array(Link(Image)),
    error: Nullable(Link(Problem)),
    warnings: Type.Array(Link(Warning)),
    attempts: Type.Integer(),
    requestId: Nullable(Type.String()),
    urls: Type.Object({ self: Type.String(), policy: Nullable(Type.String()) }),
  },
  { $id: 'Sample' },
);
export type Sample = Static<typeof Sample>;
