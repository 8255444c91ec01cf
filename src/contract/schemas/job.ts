import { type Static, Type } from 'typebox';
import {
  FreeText,
  Id,
  Metadata,
  Name,
  Nullable,
  OneOf,
  Page,
  Problem,
  pageQuery,
  Ref,
  RequestedReward,
  RequestSeed,
  RewardChoice,
  Sampler,
  SamplerRequest,
  Seed,
  Timestamp,
  Warning,
} from './common.ts';
import { Report } from './policy.ts';
import { Progress, RewardSummary } from './progress.ts';
import { JobWebhook, JobWebhookRequest } from './webhook.ts';

/** `canceling`: a canceled job that a worker still has. */
export const JOB_STATUSES = [
  'queued',
  'running',
  'paused',
  'canceling',
  'succeeded',
  'failed',
  'canceled',
  'expired',
] as const;
/** State of a job. */
export type JobStatus = (typeof JOB_STATUSES)[number];
/** Statuses in which a job has ended; of these, only `failed` can change again, by a retry. */
export const FINAL_STATUSES: readonly string[] = ['succeeded', 'failed', 'canceled', 'expired'];

/** Names of presets (`presets.ts`). */
export const PRESETS = ['fast', 'paper', 'thorough'] as const;
/** Order among the waiting work of one tenant. */
export const PRIORITIES = ['low', 'normal', 'high'] as const;

const prompt = FreeText(1, 2000, 'what the pictures should show');
const negativePrompt = FreeText(0, 2000, 'what they should not show');
const priority = OneOf(PRIORITIES, {
  description: 'jobs of a higher priority start before other waiting jobs of the tenant',
});

const images = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'images that the search may make, at most',
});
const seconds = Type.Number({
  exclusiveMinimum: 0,
  maximum: 604_800,
  description: 'the search stops after the iteration in which this time ends',
});
const targetReward = Type.Number({
  minimum: -1e6,
  maximum: 1e6,
  description: 'the search stops when the mean reward of an iteration reaches this',
});
const patience = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'the search stops after this number of images without a new best reward',
});

/** Longest time to a deadline: a year. */
export const MAX_DEADLINE_SECONDS = 31_536_000;
const deadline =
  'the job ends at this time as `expired` and stores the policy that it has learned so far; ' +
  'it does not start later';
/** Latest end of a job, in a request. */
export const Deadline = Type.Unsafe<string | number>({
  $id: 'Deadline',
  type: ['string', 'number'],
  format: 'date-time',
  exclusiveMinimum: 0,
  maximum: MAX_DEADLINE_SECONDS,
  description: `a time (RFC 3339) or seconds from now: ${deadline}`,
  'x-accepts':
    'a time such as 2030-01-01T00:00:00Z, or seconds from now, ' +
    `more than 0 and at most ${MAX_DEADLINE_SECONDS}`,
});

/** `Budget` in a request. */
export const BudgetRequest = Type.Object(
  {
    images: Type.Optional(images),
    seconds: Type.Optional(seconds),
    targetReward: Type.Optional(targetReward),
    patience: Type.Optional(patience),
  },
  {
    $id: 'BudgetRequest',
    additionalProperties: false,
    description: 'limits of the search; the first one that is reached ends it',
  },
);
/** Limits of the search of a job. */
export const Budget = Type.Object(
  { images, seconds: Nullable(seconds), targetReward: Nullable(targetReward), patience: Nullable(patience) },
  { $id: 'Budget' },
);
export type Budget = Static<typeof Budget>;

/** An optimizer by its name, with values of its parameters. */
export type Optimizer = { name: string; [parameter: string]: string | number | boolean };
export const Optimizer = Type.Unsafe<Optimizer>(
  Type.Object(
    { name: Name },
    {
      $id: 'Optimizer',
      additionalProperties: Type.Union([Type.Number(), Type.Boolean()]),
      description: 'a name from GET /v1/optimizers, with any of its parameters',
    },
  ),
);

/**
 * Samples of each distribution in a report, unless a request sets `reportDraws`. docs/method.md: at
 * least 32.
 */
export const DEFAULT_REPORT_DRAWS = 32;

/** Size of the report. */
export const ReportDraws = Type.Integer({
  minimum: 0,
  maximum: 256,
  default: DEFAULT_REPORT_DRAWS,
  description:
    'number of new samples of each distribution, N(0, I) and the learned one, that the report compares: ' +
    '2 or more; 0: no report',
});

/** Number of workers that may evaluate the noises of one job. */
export const Parallelism = Type.Integer({
  minimum: 1,
  maximum: 64,
  default: 1,
  description:
    'number of workers that may evaluate the noises of an iteration at the same time; ' +
    'workers that are idle help, and fewer change nothing but the time',
});

/** Body of POST /v1/jobs and PUT /v1/jobs/{id}. */
export const JobRequest = Type.Object(
  {
    prompt,
    negativePrompt: Type.Optional(negativePrompt),
    preset: Type.Optional(
      OneOf(PRESETS, {
        default: 'fast',
        description: 'values for what is left out: `fast`, `paper` (the settings of FIND) or `thorough`',
      }),
    ),
    model: Type.Optional(Name),
    reward: Type.Optional(RequestedReward),
    optimizer: Type.Optional(Ref(Optimizer)),
    budget: Type.Optional(Ref(BudgetRequest)),
    sampler: Type.Optional(Ref(SamplerRequest)),
    seed: Type.Optional(RequestSeed),
    samples: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 64,
        description: 'images to sample from the learned policy at the end',
      }),
    ),
    reportDraws: Type.Optional(ReportDraws),
    parallelism: Type.Optional(Parallelism),
    priority: Type.Optional(priority),
    deadline: Type.Optional(Ref(Deadline)),
    metadata: Type.Optional(Metadata),
    webhook: Type.Optional(Ref(JobWebhookRequest)),
  },
  { $id: 'JobRequest', additionalProperties: false },
);
export type JobRequest = Static<typeof JobRequest>;

/** All values that a run depends on, none left out. Responses repeat them. */
export const JobSettings = Type.Object({
  prompt,
  negativePrompt,
  preset: OneOf(PRESETS),
  model: Name,
  reward: Ref(RewardChoice),
  optimizer: Ref(Optimizer),
  budget: Ref(Budget),
  sampler: Ref(Sampler),
  seed: Seed,
  samples: Type.Integer(),
  reportDraws: ReportDraws,
  parallelism: Parallelism,
  priority,
  deadline: Nullable(Type.String({ format: 'date-time', description: `RFC 3339, UTC: ${deadline}` })),
  metadata: Metadata,
});
export type JobSettings = Static<typeof JobSettings>;

/** A job as clients see it (`viewJob`). */
export const Job = Type.Object(
  {
    object: Type.Literal('job'),
    id: Id('job', 'the job'),
    status: OneOf(JOB_STATUSES),
    createdAt: Timestamp,
    startedAt: Nullable(Timestamp),
    finishedAt: Nullable(Timestamp),
    ...JobSettings.properties,
    progress: Ref(Progress),
    queuePosition: Nullable(
      Type.Integer({ minimum: 1, description: '1: the next job to start; null: the job does not wait' }),
    ),
    rewards: Nullable(Ref(RewardSummary)),
    report: Nullable(Ref(Report)),
    policyId: Nullable(Id('pol', 'the learned policy')),
    sampleId: Nullable(Id('smp', 'the images of `samples`')),
    previewUrl: Nullable(Type.String({ description: 'address of the best picture of the search so far' })),
    error: Nullable(Ref(Problem)),
    warnings: Type.Array(Ref(Warning)),
    webhook: Nullable(Ref(JobWebhook)),
    attempts: Type.Integer({ description: 'how often a worker began with the job' }),
    requestId: Nullable(Type.String({ description: 'id of the request that created the job' })),
    urls: Type.Object({
      self: Type.String(),
      events: Type.String(),
      rewards: Type.String(),
      cancel: Type.String(),
      pause: Type.String(),
      resume: Type.String(),
      retry: Type.String(),
      policy: Nullable(Type.String()),
    }),
  },
  { $id: 'Job' },
);
export type Job = Static<typeof Job>;

/** Response of GET /v1/jobs. */
export const JobPage = Page(Job, 'JobPage');

/** Query of GET /v1/jobs. */
export const JobQuery = Type.Object(
  { ...pageQuery('job'), status: Type.Optional(OneOf(JOB_STATUSES)), model: Type.Optional(Name) },
  {
    $id: 'JobQuery',
    additionalProperties: Type.String(),
    patternProperties: { '^metadata\\.': Type.String() },
  },
);

/** Body of POST /v1/jobs/{id}/cancel. */
export const CancelRequest = Type.Object(
  {
    keepPartial: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'store the policy that the job has learned so far, without a report',
      }),
    ),
  },
  { $id: 'CancelRequest', additionalProperties: false },
);
export type CancelRequest = Static<typeof CancelRequest>;
