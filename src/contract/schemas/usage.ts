import { type Static, Type } from 'typebox';
import { Nullable, Ref, Timestamp } from './common.ts';

/** Days that one answer covers, for one tenant and for all. */
export const MAX_USAGE_DAYS = { one: 400, all: 31 } as const;

const Day = (description: string) =>
  Type.String({ format: 'date', description, 'x-accepts': 'a day (UTC), as 2026-01-31' });

/** What a tenant used on a day. */
export const UsageOfDay = Type.Object(
  {
    date: Day('day (UTC)'),
    tenant: Type.String(),
    jobs: Type.Integer({ description: 'jobs that ended, however; a retried job counts once' }),
    samples: Type.Integer({ description: 'batches of samples that ended, those of jobs too' }),
    images: Type.Integer({ description: 'images of searches, reports and samples' }),
    engineSeconds: Type.Number({
      description: 'seconds that a GPU or CPU ran graphs: denoising, decoding, rewards of the engine',
    }),
    storedBytes: Type.Integer({ description: 'bytes in storage when work was last counted on that day' }),
  },
  { $id: 'UsageOfDay' },
);

const quota = (description: string) =>
  Type.Object(
    {
      limit: Nullable(Type.Integer({ description: 'null: no limit' })),
      used: Type.Integer(),
      remaining: Nullable(Type.Integer({ description: 'null: no limit' })),
    },
    { description },
  );

/** The quotas of a tenant, as the key of the request has them. */
export const Quotas = Type.Object(
  {
    queuedJobs: quota('jobs and samples that wait'),
    imagesPerDay: quota('images that were asked for today (UTC), made or not'),
    storedBytes: quota('bytes of policies, images and records'),
    requestsPerMinute: Nullable(
      Type.Integer({ description: 'limit of this key; the header `RateLimit` says what remains' }),
    ),
    resetsAt: Timestamp,
  },
  { $id: 'Quotas', description: 'at `resetsAt`, `imagesPerDay` starts again' },
);
export type Quotas = Static<typeof Quotas>;

/** Response of GET /v1/usage. */
export const Usage = Type.Object(
  {
    object: Type.Literal('usage'),
    from: Day('first day'),
    to: Day('last day'),
    data: Type.Array(Ref(UsageOfDay), { description: 'oldest first; days without usage are left out' }),
    limits: Nullable(Ref(Quotas)),
  },
  { $id: 'Usage', description: '`limits` is null if the usage is of other tenants' },
);

/** Query of GET /v1/usage. */
export const UsageQuery = Type.Object(
  {
    from: Type.Optional(Day('first day; left out: 29 days before `to`')),
    to: Type.Optional(Day('last day; left out: today')),
    tenant: Type.Optional(
      Type.String({
        maxLength: 63,
        pattern: '^(?:\\*|[a-z0-9][a-z0-9_-]*)$',
        description: 'another tenant, or `*` for all: for keys with `metrics:read` or `admin`',
        'x-accepts': 'the name of a tenant, or * for all',
      }),
    ),
  },
  { additionalProperties: false },
);
