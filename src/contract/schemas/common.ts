import { type Static, type TSchema, Type } from 'typebox';
import type { IdKind } from '../ids.ts';

/** A schema for values of `schema` or null. */
export function Nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

/**
 * A reference to a schema that has an `$id`. The contract contains the schema once, under that
 * name.
 */
export function Ref<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#` });
}

/** A schema for a fixed set of words. */
export function OneOf<const T extends readonly string[]>(
  values: T,
  options: { description?: string; default?: T[number] } = {},
) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: values, ...options });
}

/**
 * Character classes that every reader of the contract supports: no \p{...}, nothing above \uFFFF.
 */
const CONTROL = '\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f';
const SPACE = ' \\t\\n\\r\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff';

/**
 * A schema for text that people write: no control characters but tabs and line breaks, which every
 * text box makes, and, with `minimum` 1, a visible character. The patterns need linear time (no
 * backtracking), because they run before length limits.
 */
export function FreeText(minimum: 0 | 1, maximum: number, description: string) {
  return Type.String({
    minLength: minimum,
    maxLength: maximum,
    pattern: minimum === 0 ? `^[^${CONTROL}]*$` : `^[${SPACE}]*[^${CONTROL}${SPACE}][^${CONTROL}]*$`,
    description,
    // A lone surrogate is not valid text: UTF-8 cannot encode it.
    'x-well-formed': true,
    'x-accepts':
      (minimum === 0 ? '' : 'at least one visible character, ') +
      `at most ${maximum} characters, no control characters but tabs and line breaks`,
  });
}

/** A time in responses. */
export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });

const NAME_RULES = { minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._+-]*$' };
/** A name of a model, a reward, an optimizer or a scheduler. */
export const Name = Type.String({
  ...NAME_RULES,
  'x-accepts': 'a name: letters, digits, ".", "_", "+" and "-"',
});

/** A schema for ids of one kind (`newId`). `noun` names the record in the description. */
export function Id(prefix: IdKind, noun: string) {
  return Type.String({
    pattern: `^${prefix}_[0-9a-z]{26}$`,
    description: `id of ${noun}`,
    'x-accepts': `${prefix}_ and 26 characters`,
  });
}

/** An id that a client chooses: a ULID in lower case. Lists are sorted by the time in it. */
export function ChosenId(prefix: IdKind, noun: string) {
  return Type.String({
    pattern: `^${prefix}_[0-7][0-9a-hjkmnp-tv-z]{25}$`,
    description: `id of ${noun}, chosen by you`,
    'x-accepts':
      `${prefix}_ and 26 characters, a ULID in lower case ` +
      '(0 to 9 and a to z without i, l, o and u; the first is 0 to 7)',
  });
}

const SEED_RANGE = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
const SEED_USE = 'seed of all noises; the same request with the same seed gives the same bytes';

/** A seed in responses. */
export const Seed = Type.Integer({ ...SEED_RANGE, description: SEED_USE });

/** A seed in a request; null asks for a random one, as leaving it out does. */
export const RequestSeed = Type.Unsafe<number | null>({
  type: ['integer', 'null'],
  ...SEED_RANGE,
  description: `${SEED_USE}; null or left out: findery chooses one`,
});

const METADATA_KEY = '^[A-Za-z0-9_.-]{1,64}$';
/** Pairs that a client attaches to its work. */
export const Metadata = Type.Record(Type.String({ pattern: METADATA_KEY }), Type.String({ maxLength: 512 }), {
  maxProperties: 16,
  additionalProperties: false,
  'x-keys': METADATA_KEY,
  description: 'pairs that you attach; the service only stores and filters them',
  'x-accepts':
    'up to 16 pairs: keys of 1-64 letters, digits, "_", "." or "-", values of at most 512 characters',
});

/** The body of every error response. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'stable URI reference for the kind of problem; it has a page there' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'what was wrong, what is accepted and what to do' }),
    code: Type.String({ description: 'stable word for programs' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON pointer to the value in the request' }),
          message: Type.String(),
        }),
      ),
    ),
    requestId: Type.Optional(Type.String()),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details' },
);
export type Problem = Static<typeof Problem>;

/** A remark on accepted work. */
export const Warning = Type.Object(
  { code: Type.String(), message: Type.String() },
  { $id: 'Warning', description: 'a remark on a request that was accepted' },
);
export type Warning = Static<typeof Warning>;

/** A reward with its weight in a sum. */
export type RewardTerm = { name: string; weight: number };
/** A reward by its name, or a weighted sum of rewards. Responses use the shorter form. */
export type RewardChoice = string | RewardTerm[];
/** In requests, weights may be left out: 1. */
export type RewardChoiceRequest = string | { name: string; weight?: number }[];

const MAX_TERMS = 8;
const rewardTerms = {
  minItems: 1,
  maxItems: MAX_TERMS,
  items: {
    type: 'object',
    required: ['name'],
    additionalProperties: false,
    properties: {
      name: Name,
      weight: {
        type: 'number',
        minimum: -1e6,
        maximum: 1e6,
        default: 1,
        description: 'negative: lower scores are better',
      },
    },
  },
  'x-accepts': `a name from GET /v1/rewards, or a list of 1 to ${MAX_TERMS} {"name", "weight"}`,
};

/**
 * The reward that a job maximizes. JSON Schema applies each keyword only to values of its type.
 * `array` is the first type, because fast-json-stringify tries the types in this order and would
 * serialize a list as a string.
 */
export const RewardChoice = Type.Unsafe<RewardChoice>({
  $id: 'RewardChoice',
  type: ['array', 'string'],
  ...NAME_RULES,
  ...rewardTerms,
  description: 'the name of a reward, or several with weights: reward = sum of weight * score',
});
/** A reward, or null: images are not scored. */
export const OptionalReward = Type.Unsafe<RewardChoice | null>({
  $id: 'OptionalReward',
  type: ['array', 'string', 'null'],
  ...NAME_RULES,
  ...rewardTerms,
  description: 'as RewardChoice; null: images are not scored',
});
/** `RewardChoice` in a request. */
export const RequestedReward = Type.Unsafe<RewardChoiceRequest>({ $ref: 'RewardChoice#' });
/** `OptionalReward` in a request. */
export const RequestedOptionalReward = Type.Unsafe<RewardChoiceRequest | null>({ $ref: 'OptionalReward#' });
/** Scores of one image by the names of the terms. */
export const TermScores = Type.Record(Type.String(), Type.Number(), {
  description: 'score of each term before weighting; present when the reward is a list',
});

/**
 * A scheduler, also by names that other programs use: "dpmsolver++", "Euler a", "DPM++ 2M Karras".
 */
const SchedulerName = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z0-9][A-Za-z0-9 ._+-]*$',
  description: "a name from GET /v1/models; diffusers' class names and common aliases are accepted too",
  'x-accepts': 'a name: letters, digits, spaces, ".", "_", "+" and "-"',
});

/** How the pipeline makes a picture from a noise. The names are those of diffusers. */
export const Sampler = Type.Object(
  {
    scheduler: SchedulerName,
    steps: Type.Integer({ minimum: 1, maximum: 1000, description: 'denoising steps' }),
    guidanceScale: Type.Number({
      minimum: 0,
      maximum: 100,
      description:
        'classifier-free guidance; 1 or less: none. Guidance-distilled models take it as an input instead',
    }),
    eta: Type.Number({
      minimum: 0,
      maximum: 1,
      description: 'eta of DDIM; 0: the picture depends only on the initial noise',
    }),
    clipSkip: Type.Integer({
      minimum: 0,
      maximum: 31,
      description:
        "number of last layers of CLIP's text encoder that are skipped, as `clip_skip` of diffusers; 1 is " +
        'what other programs call "clip skip 2"',
    }),
    width: Type.Integer({ minimum: 8, maximum: 8192, description: 'pixels' }),
    height: Type.Integer({ minimum: 8, maximum: 8192, description: 'pixels' }),
  },
  { $id: 'Sampler', additionalProperties: false },
);
export type Sampler = Static<typeof Sampler>;
/** `Sampler` in a request. */
export const SamplerRequest = Type.Partial(Sampler, {
  $id: 'SamplerRequest',
  additionalProperties: false,
  description: "values that are left out come from the preset and the model's defaults",
});
export type SamplerRequest = Static<typeof SamplerRequest>;

/** Query parameters of a list of records of one kind. */
export function pageQuery(kind: IdKind) {
  return {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    after: Type.Optional(Id(kind, 'the last entry of the previous page; it is `nextAfter` there')),
  };
}

/** A schema for a page of a list, newest first. */
export function Page<T extends TSchema>(item: T, $id: string) {
  return Type.Object(
    {
      data: Type.Array(Ref(item)),
      hasMore: Type.Boolean({
        description:
          'true even for a short or empty page, if a filter skipped thousands of entries and ended it early',
      }),
      nextAfter: Nullable(Type.String({ description: '`after` of the next page; null: there are no more' })),
    },
    { $id },
  );
}
