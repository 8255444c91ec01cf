import { type Static, Type } from 'typebox';
import {
  FreeText,
  Id,
  Metadata,
  Name,
  Nullable,
  OneOf,
  OptionalReward,
  Page,
  Problem,
  pageQuery,
  Ref,
  RequestedOptionalReward,
  RequestSeed,
  Sampler,
  SamplerRequest,
  Seed,
  TermScores,
  Timestamp,
  Warning,
} from './common.ts';
import { PRIORITIES } from './job.ts';

/** States of a batch of samples. */
export const SAMPLE_STATUSES = ['queued', 'running', 'succeeded', 'failed'] as const;
/** File formats of images. */
export const FORMATS = ['png', 'webp', 'jpeg'] as const;

/** Fields that requests for samples share. */
const sampling = {
  count: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 64, default: 4, description: 'number of images' }),
  ),
  bestOf: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 256,
      description:
        'images to make; the `count` of them with the highest reward are returned; at least `count`',
    }),
  ),
  seed: Type.Optional(RequestSeed),
  steps: Type.Optional(SamplerRequest.properties.steps),
  guidanceScale: Type.Optional(SamplerRequest.properties.guidanceScale),
  scheduler: Type.Optional(Name),
  eta: Type.Optional(SamplerRequest.properties.eta),
  clipSkip: Type.Optional(SamplerRequest.properties.clipSkip),
  width: Type.Optional(SamplerRequest.properties.width),
  height: Type.Optional(SamplerRequest.properties.height),
  format: Type.Optional(OneOf(FORMATS, { default: 'png' })),
  priority: Type.Optional(
    OneOf(PRIORITIES, {
      description: 'requests of a higher priority start before other waiting requests of the tenant',
    }),
  ),
  metadata: Type.Optional(Metadata),
};

/** Body of POST /v1/policies/{id}/samples. */
export const PolicySampleRequest = Type.Object(
  {
    reward: Type.Optional(RequestedOptionalReward),
    ...sampling,
  },
  {
    $id: 'PolicySampleRequest',
    additionalProperties: false,
    description: 'values that are left out come from the policy',
  },
);
export type PolicySampleRequest = Static<typeof PolicySampleRequest>;

/** Body of POST /v1/samples: images of the base model. */
export const SampleRequest = Type.Object(
  {
    prompt: FreeText(1, 2000, 'what the pictures should show'),
    negativePrompt: Type.Optional(FreeText(0, 2000, 'what they should not show')),
    model: Type.Optional(Name),
    reward: Type.Optional(RequestedOptionalReward),
    ...sampling,
  },
  { $id: 'SampleRequest', additionalProperties: false },
);
export type SampleRequest = Static<typeof SampleRequest>;

/** An image of a batch. */
export const Image = Type.Object(
  {
    id: Id('img', 'the image'),
    url: Type.String(),
    seed: Seed,
    index: Type.Integer({
      minimum: 0,
      description: 'index of its noise among those of the seed; seed and index reproduce the image',
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

/** All values that a batch of samples depends on. Responses repeat them. */
export const SampleSettings = Type.Object({
  policyId: Nullable(Id('pol', 'the policy that is sampled; null: N(0, I)')),
  prompt: Type.String(),
  negativePrompt: Type.String(),
  model: Name,
  reward: Ref(OptionalReward),
  sampler: Ref(Sampler),
  seed: Seed,
  count: Type.Integer(),
  bestOf: Type.Integer(),
  format: OneOf(FORMATS),
  priority: OneOf(PRIORITIES),
  metadata: Metadata,
});
export type SampleSettings = Static<typeof SampleSettings>;

/** A batch of samples as clients see it (`viewSample`). */
export const Sample = Type.Object(
  {
    object: Type.Literal('sample'),
    id: Id('smp', 'the batch of samples'),
    status: OneOf(SAMPLE_STATUSES),
    createdAt: Timestamp,
    startedAt: Nullable(Timestamp),
    finishedAt: Nullable(Timestamp),
    ...SampleSettings.properties,
    images: Type.Array(Ref(Image)),
    error: Nullable(Ref(Problem)),
    warnings: Type.Array(Ref(Warning)),
    attempts: Type.Integer(),
    requestId: Nullable(Type.String()),
    urls: Type.Object({ self: Type.String(), policy: Nullable(Type.String()) }),
  },
  { $id: 'Sample' },
);
export type Sample = Static<typeof Sample>;

/** Page of GET /v1/samples. */
export const SamplePage = Page(Sample, 'SamplePage');

/** Query of GET /v1/samples. */
export const SampleQuery = Type.Object(
  {
    ...pageQuery('smp'),
    status: Type.Optional(OneOf(SAMPLE_STATUSES)),
    model: Type.Optional(Name),
    policyId: Type.Optional(Id('pol', 'the policy that was sampled')),
  },
  {
    $id: 'SampleQuery',
    additionalProperties: Type.String(),
    patternProperties: { '^metadata\\.': Type.String() },
  },
);
