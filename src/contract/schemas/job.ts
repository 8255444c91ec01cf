import { type Static, Type } from 'typebox';
import {
  AskedReward,
  Id,
  Link,
  Metadata,
  Name,
  Nullable,
  OneOf,
  Page,
  Problem,
  Prose,
  pageQuery,
  RewardChoice,
  Sampler,
  SamplerRequest,
  Seed,
  TermScores,
  Timestamp,
  Warning,
} from './common.ts';
import { Report } from './policy.ts';
import { JobWebhook, JobWebhookRequest } from './webhook.ts';

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
export type JobStatus = (typeof JOB_STATUSES)[number];
export const FINAL_STATUSES: readonly string[] = ['succeeded', 'failed', 'canceled', 'expired'];

export const PRESETS = ['fast', 'paper', 'thorough'] as const;
export const PRIORITIES = ['low', 'normal', 'high'] as const;

const prompt = Prose(1, 2000, 'what the pictures should show');
const negativePrompt = Prose(0, 2000, 'what they should not show');
const priority = OneOf(PRIORITIES, { description: 'waiting jobs of a higher priority go first' });

const images = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'full denoisings that the search may spend',
});
const seconds = Type.Number({
  exclusiveMinimum: 0,
  maximum: 604_800,
  description: 'stop after the iteration in which this time has passed',
});
const targetReward = Type.Number({
  minimum: -1e6,
  maximum: 1e6,
  description: 'stop once the mean reward of an iteration reaches it',
});
const patience = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'stop after so many images without a new best reward',
});

/** Longest time until a deadline, seconds: a year. */
export const MAX_DEADLINE_SECONDS = 31_536_000;
const deadline =
  'the job ends by then as `expired`, with what it has learnt so far; it does not begin after it';
export const Deadline = Type.Unsafe<string | number>({
  $id: 'Deadline',
  type: ['string', 'number'],
  format: 'date-time',
  exclusiveMinimum: 0,
  maximum: MAX_DEADLINE_SECONDS,
  description: `a time (RFC 3339), or seconds from now: ${deadline}`,
  'x-accepts': `a time such as 2030-01-01T00:00:00Z, or seconds from now, more than 0 and at most ${MAX_DEADLINE_SECONDS}`,
});

export const BudgetRequest = Type.Object(
  {
    images: Type.Optional(images),
    seconds: Type.Optional(seconds),
    targetReward: Type.Optional(targetReward),
    patience: Type.Optional(patience),
  },
  { $id: 'BudgetRequest', additionalProperties: false, description: 'whichever comes first' },
);
export const Budget = Type.Object(
  { images, seconds: Nullable(seconds), targetReward: Nullable(targetReward), patience: Nullable(patience) },
  { $id: 'Budget' },
);
export type Budget = Static<typeof Budget>;

export type Optimizer = { name: string; [parameter: string]: string | number | boolean };
export const Optimizer = Type.Unsafe<Optimizer>(
  Type.Object(
    { name: Name },
    {
      $id: 'Optimizer',
      additionalProperties: Type.Union([Type.Number(), Type.Boolean()]),
      description: 'a name from GET /v1/optimizers, and any of its parameters',
    },
  ),
);

/** Of each distribution, where a job does not say (METHOD.md section 6: at least 32). */
export const REPORT_DRAWS = 32;

export const ReportDraws = Type.Integer({
  minimum: 0,
  maximum: 256,
  default: REPORT_DRAWS,
  description:
    'fresh draws of each distribution, N(0, I) and the learned one, that the report rests on: 2 or more, or 0 for no report',
});

export const JobRequest = Type.Object(
  {
    prompt,
    negativePrompt: Type.Optional(negativePrompt),
    preset: Type.Optional(
      OneOf(PRESETS, {
        default: 'fast',
        description: 'fills what is left out: `fast`, `paper` (the settings of FIND), `thorough`',
      }),
    ),
    model: Type.Optional(Name),
    reward: Type.Optional(AskedReward),
    optimizer: Type.Optional(Link(Optimizer)),
    budget: Type.Optional(Link(BudgetRequest)),
    sampler: Type.Optional(Link(SamplerRequest)),
    seed: Type.Optional(Seed),
    samples: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 64, description: 'images to draw from the policy at the end' }),
    ),
    reportDraws: Type.Optional(ReportDraws),
    priority: Type.Optional(priority),
    deadline: Type.Optional(Link(Deadline)),
    metadata: Type.Optional(Metadata),
    webhook: Type.Optional(Link(JobWebhookRequest)),
  },
  { $id: 'JobRequest', additionalProperties: false },
);
export type JobRequest = Static<typeof JobRequest>;

/** Every value that a run depends on; what the answer echoes. */
export const JobSettings = Type.Object({
  prompt,
  negativePrompt,
  preset: OneOf(PRESETS),
  model: Name,
  reward: Link(RewardChoice),
  optimizer: Link(Optimizer),
  budget: Link(Budget),
  sampler: Link(Sampler),
  seed: Seed,
  samples: Type.Integer(),
  reportDraws: ReportDraws,
  priority,
  deadline: Nullable(Type.String({ format: 'date-time', description: `RFC 3339, UTC: ${deadline}` })),
  metadata: Metadata,
});
export type JobSettings = Static<typeof JobSettings>;

export const Progress = Type.Object(
  {
    stage: OneOf(['waiting', 'searching', 'judging', 'sampling', 'ended']),
    iteration: Type.Integer(),
    images: Type.Integer({ description: 'images of the search so far' }),
    of: Type.Integer({ description: 'images the search may spend' }),
    fraction: Type.Number({
      minimum: 0,
      maximum: 1,
      description: 'of all the work: search, report and samples',
    }),
    secondsLeft: Nullable(Type.Number()),
    imagesPerSecond: Nullable(Type.Number()),
  },
  { $id: 'Progress' },
);
export type Progress = Static<typeof Progress>;

export const RewardSummary = Type.Object(
  {
    best: Type.Number({ description: 'highest reward that the search saw: not what a fresh draw will get' }),
    mean: Type.Number({ description: 'mean over the search' }),
    latest: Type.Number({ description: 'mean of the latest iteration' }),
    smoothed: Type.Number({ description: 'mean of the latest iterations, weighted by a Gaussian' }),
  },
  { $id: 'RewardSummary' },
);
export type RewardSummary = Static<typeof RewardSummary>;

export const Job = Type.Object(
  {
    object: Type.Literal('job'),
    id: Id('job', 'the job'),
    status: OneOf(JOB_STATUSES),
    createdAt: Timestamp,
    startedAt: Nullable(Timestamp),
    finishedAt: Nullable(Timestamp),
    ...JobSettings.properties,
    progress: Link(Progress),
    queuePosition: Nullable(Type.Integer({ minimum: 1, description: '1: next; null: not waiting' })),
    rewards: Nullable(Link(RewardSummary)),
    report: Nullable(Link(Report)),
    policyId: Nullable(Id('pol', 'the learned policy')),
    sampleId: Nullable(Id('smp', 'the images asked for with `samples`')),
    previewUrl: Nullable(Type.String({ description: 'best picture of the search so far' })),
    error: Nullable(Link(Problem)),
    warnings: Type.Array(Link(Warning)),
    webhook: Nullable(Link(JobWebhook)),
    attempts: Type.Integer({ description: 'how many times a worker took the job' }),
    requestId: Nullable(Type.String({ description: 'the request that queued it' })),
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

export const JobPage = Page(Job, 'JobPage');

export const JobQuery = Type.Object(
  { ...pageQuery('job'), status: Type.Optional(OneOf(JOB_STATUSES)), model: Type.Optional(Name) },
  {
    $id: 'JobQuery',
    additionalProperties: Type.String(),
    patternProperties: { '^metadata\\.': Type.String() },
  },
);

export const CancelRequest = Type.Object(
  {
    keepPartial: Type.Optional(
      Type.Boolean({ default: false, description: 'store the policy learnt so far (without a report)' }),
    ),
  },
  { $id: 'CancelRequest', additionalProperties: false },
);

export const RewardPoint = Type.Object({
  image: Type.Integer({ minimum: 1 }),
  iteration: Type.Integer({ minimum: 1 }),
  reward: Type.Number(),
  terms: Type.Optional(TermScores),
});
export type RewardPoint = Static<typeof RewardPoint>;
export const RewardHistory = Type.Object(
  {
    jobId: Id('job', 'the job'),
    sigma: Type.Number({ description: 'standard deviation of the Gaussian, in iterations' }),
    data: Type.Array(RewardPoint),
    iterations: Type.Array(
      Type.Object({ iteration: Type.Integer(), mean: Type.Number(), smoothed: Type.Number() }),
    ),
  },
  { $id: 'RewardHistory' },
);
