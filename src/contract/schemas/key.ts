import { type Static, Type } from 'typebox';
import { SCOPES } from '../scopes.ts';
import { FreeText, Nullable, OneOf, Page, Timestamp } from './common.ts';

/** States of a key. */
export const KEY_STATES = ['valid', 'revoked', 'ended'] as const;
/** Requests a minute of a new key for which none are named. */
export const DEFAULT_REQUESTS_PER_MINUTE = 600;

const KeyId = Type.String({
  pattern: '^key_[0-9a-f]{12}$',
  description: 'id of the key, which is no secret',
  'x-accepts': 'key_ and 12 characters',
});
const Scopes = (description: string) =>
  Type.Array(OneOf(SCOPES), { minItems: 1, uniqueItems: true, description });
const limit = (description: string) =>
  Nullable(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description }));

/** Limits of a key, as Limits of `tenancy/api-keys.ts`. */
const limits = {
  requestsPerMinute: limit('requests of this key'),
  queuedJobs: limit('jobs and samples of the tenant that wait'),
  runningJobs: Nullable(
    Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'jobs of the tenant that run at the same time; others wait',
    }),
  ),
  imagesPerDay: limit('images that the tenant asks for on a day (UTC)'),
  imagesPerJob: limit('images of one job (search, report and samples) or batch of samples'),
  secondsPerJob: limit('seconds of search of one job'),
  pixelStepsPerImage: limit('width times height times steps of an image'),
  storedBytes: limit('bytes of the tenant in storage'),
};

const key = {
  object: Type.Literal('key'),
  id: KeyId,
  name: Type.String(),
  tenant: Type.String(),
  scopes: Scopes('what the key allows'),
  limits: Type.Object(limits, { description: 'null: no limit' }),
  state: OneOf(KEY_STATES, { description: '`ended`: `expiresAt` has passed' }),
  createdAt: Timestamp,
  expiresAt: Nullable(Timestamp),
  revokedAt: Nullable(Timestamp),
};

/** A key as its list shows it. */
export const Key = Type.Object(
  { ...key, lastUsedAt: Nullable(Type.String({ description: 'to the minute; null: never' })) },
  { $id: 'Key' },
);
export type Key = Static<typeof Key>;

/** A new key, with its secret. */
export const NewKey = Type.Object(
  {
    ...key,
    secret: Type.String({ description: 'the key itself; it is stored as a hash and cannot be shown again' }),
    replaces: Nullable(
      Type.Object({ id: KeyId, validUntil: Timestamp }, { description: 'the key that was rotated' }),
    ),
  },
  { $id: 'NewKey' },
);

/** Response of GET /v1/keys. */
export const KeyPage = Page(Key, 'KeyPage');

const TenantName = (description: string) =>
  Type.String({
    maxLength: 63,
    pattern: '^[a-z0-9][a-z0-9_-]*$',
    description,
    'x-accepts': 'the name of a tenant: a-z, 0-9, "-" and "_"',
  });

/** Query of GET /v1/keys. */
export const KeyQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    after: Type.Optional(KeyId),
    tenant: Type.Optional(TenantName('its keys only')),
  },
  { additionalProperties: false },
);

/** Body of POST /v1/keys. */
export const KeyRequest = Type.Object(
  {
    name: Type.Optional(FreeText(1, 100, 'a note of yours; left out: the tenant')),
    tenant: Type.Optional(TenantName('owner of what the key creates; left out: your own')),
    scopes: Type.Optional(Scopes('left out: read, jobs:write and samples:write')),
    limits: Type.Optional(
      Type.Partial(Type.Object(limits), {
        additionalProperties: false,
        description:
          'null: no limit. A limit that is left out is that of your own key, or none for `admin`; ' +
          `requestsPerMinute: ${DEFAULT_REQUESTS_PER_MINUTE} at most`,
      }),
    ),
    expiresAt: Type.Optional(Nullable(Type.String({ format: 'date-time', description: 'left out: never' }))),
  },
  { $id: 'KeyRequest', additionalProperties: false },
);
export type KeyRequest = Static<typeof KeyRequest>;

/** Body of POST /v1/keys/{id}/rotate. */
export const RotateKeyRequest = Type.Object(
  {
    scopes: Type.Optional(Scopes('of the new key; left out: those of the old one')),
    graceSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 86_400,
        description: 'seconds for which the old key stays valid',
      }),
    ),
  },
  { $id: 'RotateKeyRequest', additionalProperties: false },
);
export type RotateKeyRequest = Static<typeof RotateKeyRequest>;

/** Query of operations that may end the last key with the scope `admin`. */
export const ForceQuery = Type.Object(
  {
    force: Type.Optional(
      Type.Boolean({ description: 'also if no valid key with the scope `admin` would be left' }),
    ),
  },
  { additionalProperties: false },
);
