import { type Static, Type } from 'typebox';
import { FAMILY_NAMES } from '../../bundles/families.ts';
import { REWARD_TYPES } from '../../bundles/reward-bundle.ts';
import { Name, Nullable, OneOf, Sampler, Timestamp } from './common.ts';

const Availability = {
  available: Type.Boolean({ description: 'false: see `problem`' }),
  problem: Nullable(Type.String({ description: 'what is wrong with the bundle and what to do' })),
  loadedBy: Type.Array(Type.String({ description: 'workers that hold it in memory' })),
};

export const Model = Type.Object(
  {
    object: Type.Literal('model'),
    name: Name,
    title: Type.String(),
    licence: Nullable(Type.String()),
    family: Nullable(OneOf(FAMILY_NAMES)),
    default: Type.Boolean({ description: 'used when a request names none' }),
    defaults: Nullable(
      Type.Unsafe<Sampler & { reward: string | null }>(
        Type.Object({ ...Sampler.properties, reward: Nullable(Name) }),
      ),
    ),
    sizes: Nullable(
      Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 }), {
        description: 'width and height pairs; null: any multiple of `sizeMultiple`',
      }),
    ),
    sizeMultiple: Nullable(Type.Integer()),
    latentShape: Nullable(Type.Array(Type.Integer(), { description: 'at the default size' })),
    promptTokens: Nullable(
      Type.Integer({
        description:
          'tokens of a prompt that the model reads, with start and end; the most, where it has several text encoders',
      }),
    ),
    schedulers: Type.Array(Name, { description: "that go with the model's scheduler_config.json" }),
    ...Availability,
  },
  { $id: 'Model' },
);
export type Model = Static<typeof Model>;

export const Reward = Type.Object(
  {
    object: Type.Literal('reward'),
    name: Name,
    type: Nullable(OneOf(REWARD_TYPES, { description: 'what gives the scores' })),
    title: Type.String(),
    licence: Nullable(Type.String()),
    default: Type.Boolean(),
    reads: Type.Array(OneOf(['image', 'text'])),
    range: Nullable(
      Type.Array(Type.Number(), { minItems: 2, maxItems: 2, description: 'where scores usually lie' }),
    ),
    ...Availability,
  },
  { $id: 'Reward' },
);
export type Reward = Static<typeof Reward>;

export const OptimizerInfo = Type.Object(
  {
    object: Type.Literal('optimizer'),
    name: Name,
    aliases: Type.Array(Name, { description: 'earlier names that requests may use' }),
    title: Type.String(),
    source: Type.String(),
    default: Type.Boolean(),
    parameters: Type.Record(
      Type.String(),
      Type.Object({
        type: OneOf(['number', 'integer', 'boolean']),
        default: Type.Union([Type.Number(), Type.Boolean()]),
        minimum: Type.Optional(Type.Number()),
        maximum: Type.Optional(Type.Number()),
        description: Type.String(),
      }),
    ),
  },
  { $id: 'OptimizerInfo' },
);

const QueueCounts = Type.Object({
  waiting: Type.Integer({ description: 'for a worker, or for their next try' }),
  active: Type.Integer({ description: 'a worker has them' }),
});

export const Queues = Type.Object(
  {
    object: Type.Literal('queues'),
    optimize: QueueCounts,
    sample: QueueCounts,
    unfinished: Type.Integer({ description: 'all of them: what a number of workers may follow' }),
  },
  { $id: 'Queues' },
);

export const WorkerInfo = Type.Object(
  {
    object: Type.Literal('worker'),
    id: Type.String(),
    host: Type.String(),
    pid: Type.Integer(),
    version: Type.String(),
    startedAt: Timestamp,
    seenAt: Timestamp,
    device: Type.String({ description: 'where graphs run: cpu, webgpu, cuda:0 and the like' }),
    executionProviders: Type.Array(Type.String({ description: 'as configured, in order' })),
    passedOver: Type.Array(
      Type.String({
        description: 'providers named before the one in use that are not to be had there, and why',
      }),
    ),
    threads: Type.Integer(),
    batchSize: Type.Integer({ description: 'most draws in one graph run' }),
    reducedBatches: Type.Array(
      Type.Object({
        model: Type.String(),
        width: Type.Integer(),
        height: Type.Integer(),
        batchSize: Type.Integer(),
      }),
      { description: 'where runs have fewer draws, since more did not fit into memory' },
    ),
    memoryBytes: Type.Integer({ description: 'resident memory of the process' }),
    loaded: Type.Array(Type.String({ description: 'models and rewards in memory' })),
    currentJobs: Type.Array(Type.String()),
    imagesPerSecond: Nullable(Type.Number({ description: 'over the last minute of work' })),
  },
  { $id: 'WorkerInfo' },
);
export type WorkerInfo = Static<typeof WorkerInfo>;
