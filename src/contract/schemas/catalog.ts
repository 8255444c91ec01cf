import { type Static, Type } from 'typebox';
import { FAMILY_NAMES } from '../../bundles/families.ts';
import { REWARD_TYPES } from '../../bundles/reward-bundle.ts';
import { Name, Nullable, OneOf, Ref, Sampler, Timestamp, Warning } from './common.ts';

/** Fields of models and rewards that say whether they can be used. */
const Availability = {
  available: Type.Boolean({ description: 'whether it can be used; `problem` says why not' }),
  problem: Nullable(Type.String({ description: 'what is wrong with the bundle, and what to do' })),
  loadedBy: Type.Array(Type.String({ description: 'ids of the workers that have it in memory' })),
};

/** An installed model. */
export const Model = Type.Object(
  {
    object: Type.Literal('model'),
    name: Name,
    title: Type.String(),
    licence: Nullable(Type.String()),
    family: Nullable(OneOf(FAMILY_NAMES)),
    default: Type.Boolean({ description: 'whether it is used when a request names none' }),
    defaults: Nullable(
      Type.Unsafe<Sampler & { reward: string | null }>(
        Type.Object({ ...Sampler.properties, reward: Nullable(Name) }),
      ),
    ),
    sizes: Nullable(
      Type.Array(Type.Array(Type.Integer(), { minItems: 2, maxItems: 2 }), {
        description: 'pairs of width and height in pixels; null: any multiples of `sizeMultiple`',
      }),
    ),
    sizeMultiple: Nullable(Type.Integer()),
    latentShape: Nullable(Type.Array(Type.Integer(), { description: 'at the default size' })),
    promptTokens: Nullable(
      Type.Integer({
        description:
          'longest prompt in tokens, with start and end token; of several text encoders the largest',
      }),
    ),
    schedulers: Type.Array(Name, {
      description: "schedulers that support the model's scheduler_config.json",
    }),
    warnings: Type.Array(Ref(Warning), { description: 'remarks on how the model is used' }),
    ...Availability,
  },
  { $id: 'Model' },
);
export type Model = Static<typeof Model>;

/** An installed reward. */
export const Reward = Type.Object(
  {
    object: Type.Literal('reward'),
    name: Name,
    type: Nullable(OneOf(REWARD_TYPES, { description: 'what computes the scores' })),
    title: Type.String(),
    licence: Nullable(Type.String()),
    default: Type.Boolean(),
    reads: Type.Array(OneOf(['image', 'text'])),
    range: Nullable(
      Type.Array(Type.Number(), { minItems: 2, maxItems: 2, description: 'usual range of scores' }),
    ),
    ...Availability,
  },
  { $id: 'Reward' },
);
export type Reward = Static<typeof Reward>;

/** An optimizer and its parameters. */
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
        defaultOnGpu: Type.Optional(
          Type.Number({
            description:
              'the default of a job that a GPU starts. The job shows `default` until then, and keeps the ' +
              'value that it was started with',
          }),
        ),
        minimum: Type.Optional(Type.Number()),
        maximum: Type.Optional(Type.Number()),
        description: Type.String(),
      }),
    ),
  },
  { $id: 'OptimizerInfo' },
);

/** Entries of a queue. */
const QueueCounts = Type.Object({
  waiting: Type.Integer({ description: 'waiting for a worker or for the next attempt' }),
  active: Type.Integer({ description: 'being worked on' }),
});

/** Response of GET /v1/queues. */
export const Queues = Type.Object(
  {
    object: Type.Literal('queues'),
    optimize: QueueCounts,
    sample: QueueCounts,
    unfinished: Type.Integer({ description: 'sum of all these counts; autoscalers can follow it' }),
  },
  { $id: 'Queues' },
);

/** A live worker. */
export const WorkerInfo = Type.Object(
  {
    object: Type.Literal('worker'),
    id: Type.String(),
    host: Type.Optional(Type.String({ description: 'for keys with the scope `admin`' })),
    pid: Type.Optional(Type.Integer({ description: 'for keys with the scope `admin`' })),
    version: Type.String(),
    startedAt: Timestamp,
    seenAt: Timestamp,
    device: Type.String({ description: 'device that runs the graphs, for example cpu, webgpu or cuda:0' }),
    executionProviders: Type.Array(
      Type.String({ description: 'execution providers of ONNX Runtime, as configured, in order' }),
    ),
    passedOver: Type.Array(
      Type.String({
        description: 'configured providers before the one in use that are unavailable, and why',
      }),
    ),
    threads: Type.Integer(),
    batchSize: Type.Integer({ description: 'most noises in one graph run' }),
    reducedBatches: Type.Array(
      Type.Object({
        model: Type.String(),
        width: Type.Integer(),
        height: Type.Integer(),
        batchSize: Type.Integer(),
      }),
      { description: 'models and sizes with smaller batches, because larger ones did not fit into memory' },
    ),
    memoryBytes: Type.Integer({ description: 'resident memory of the process' }),
    loaded: Type.Array(Type.String({ description: 'names of the models and rewards in memory' })),
    currentJobs: Type.Array(Type.String()),
    imagesPerSecond: Nullable(Type.Number({ description: 'mean over the last minute of work' })),
  },
  { $id: 'WorkerInfo' },
);
export type WorkerInfo = Static<typeof WorkerInfo>;
