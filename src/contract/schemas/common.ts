import { type Static, type TSchema, Type } from 'typebox';
import type { IdKind } from '../ids.ts';

/** `value | null`, as OpenAPI 3.1 and JSON Schema write it. */
export function Nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

/** A reference to a schema that has an `$id`: it appears once in the contract, under that name. */
export function Link<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#` });
}

/** A closed set of words. */
export function OneOf<const T extends readonly string[]>(
  values: T,
  options: { description?: string; default?: T[number] } = {},
) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: values, ...options });
}

/** Classes of characters as every reader of the contract understands them: no \p{...}, nothing beyond \uFFFF. */
const CONTROL = '\\u0000-\\u001f\\u007f-\\u009f';
const SPACE = ' \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff';

/**
 * Strings that people typed: at least one visible character where `required`, no control characters. At each character there is
 * one way to go on, so a long text that is refused takes no longer than one that is not.
 */
export function Prose(minimum: 0 | 1, maximum: number, description: string) {
  return Type.String({
    minLength: minimum,
    maxLength: maximum,
    pattern: minimum === 0 ? `^[^${CONTROL}]*$` : `^[${SPACE}]*[^${CONTROL}${SPACE}][^${CONTROL}]*$`,
    description,
    // No halves of surrogate pairs: they are no text and can't be stored as UTF-8.
    'x-well-formed': true,
    'x-accepts': `${minimum === 0 ? '' : 'at least one visible character, '}at most ${maximum} characters, no control characters`,
  });
}

export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });
export const Name = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z0-9][A-Za-z0-9._+-]*$',
  'x-accepts': 'a name: letters, digits, ".", "_", "+" and "-"',
});

/** Ids carry what they name and sort by time. */
export function Id(prefix: IdKind, noun: string) {
  return Type.String({
    pattern: `^${prefix}_[0-9a-z]{26}$`,
    description: `id of ${noun}`,
    'x-accepts': `${prefix}_ and 26 characters`,
  });
}

export const Seed = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'seed of every draw; the same request with the same seed gives the same bytes',
});

const METADATA_KEY = '^[A-Za-z0-9_.-]{1,64}$';
export const Metadata = Type.Record(Type.String({ pattern: METADATA_KEY }), Type.String({ maxLength: 512 }), {
  maxProperties: 16,
  additionalProperties: false,
  'x-keys': METADATA_KEY,
  description: 'pairs of your own',
  'x-accepts':
    'up to 16 pairs: keys of 1-64 letters, digits, "_", "." or "-", values of at most 512 characters',
});

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'stable URI reference of the kind of problem' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'what was wrong, what is accepted, what to do' }),
    code: Type.String({ description: 'stable word for programs' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON pointer into the request' }),
          message: Type.String(),
        }),
      ),
    ),
    requestId: Type.Optional(Type.String()),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details' },
);
export type Problem = Static<typeof Problem>;

export const Warning = Type.Object(
  { code: Type.String(), message: Type.String() },
  { $id: 'Warning', description: 'accepted, but worth knowing' },
);
export type Warning = Static<typeof Warning>;

export type RewardTerm = { name: string; weight: number };
/** A reward by its name, or a weighted sum of several. Answers say it in the shorter of both forms. */
export type RewardChoice = string | RewardTerm[];
export type RewardChoiceRequest = string | { name: string; weight?: number }[];

const MOST_TERMS = 8;
const rewardTerms = {
  minItems: 1,
  maxItems: MOST_TERMS,
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
        description: 'negative: less is better',
      },
    },
  },
  'x-accepts': `a name from GET /v1/rewards, or a list of 1 to ${MOST_TERMS} {"name", "weight"}`,
};
const { minLength, maxLength, pattern } = Name as unknown as {
  minLength: number;
  maxLength: number;
  pattern: string;
};
const rewardName = { minLength, maxLength, pattern };

/**
 * What a job is to get more of. Keywords of JSON Schema hold for the types that they are about. Lists come first: the serializer
 * of answers (fast-json-stringify) tries the types in this order, and takes a list for a string.
 */
export const RewardChoice = Type.Unsafe<RewardChoice>({
  $id: 'RewardChoice',
  type: ['array', 'string'],
  ...rewardName,
  ...rewardTerms,
  description: 'a name, or several with weights: reward = sum of weight * score',
});
/** The same, or null: do not score. */
export const OptionalReward = Type.Unsafe<RewardChoice | null>({
  $id: 'OptionalReward',
  type: ['array', 'string', 'null'],
  ...rewardName,
  ...rewardTerms,
  description: 'as RewardChoice; null: no reward',
});
/** In requests a weight may be left out: 1. */
export const AskedReward = Type.Unsafe<RewardChoiceRequest>({ $ref: 'RewardChoice#' });
export const AskedOptionalReward = Type.Unsafe<RewardChoiceRequest | null>({ $ref: 'OptionalReward#' });
/** Scores of each term, before weighting, by its name. */
export const TermScores = Type.Record(Type.String(), Type.Number(), {
  description: 'score of each term of the reward, before weighting; there when the reward is a list',
});

/** Names of schedulers as people write them: "dpmsolver++", "Euler a", "DPM++ 2M Karras". */
const SchedulerName = Type.String({
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z0-9][A-Za-z0-9 ._+-]*$',
  description: "a name from GET /v1/models; diffusers' class names and other programs' names are taken too",
  'x-accepts': 'a name: letters, digits, spaces, ".", "_", "+" and "-"',
});

/** How a picture is made from a noise; diffusers' names. */
export const Sampler = Type.Object(
  {
    scheduler: SchedulerName,
    steps: Type.Integer({ minimum: 1, maximum: 1000, description: 'denoising steps' }),
    guidanceScale: Type.Number({
      minimum: 0,
      maximum: 100,
      description:
        'classifier-free guidance, 1 and less: none; models that were distilled with it read it as a number',
    }),
    eta: Type.Number({
      minimum: 0,
      maximum: 1,
      description: "DDIM's eta; 0: the picture depends on the initial noise alone",
    }),
    clipSkip: Type.Integer({
      minimum: 0,
      maximum: 31,
      description:
        'last layers of CLIP\'s text encoder that the prompt passes by, diffusers\' clip_skip; 1 is what other programs call "clip skip 2"',
    }),
    width: Type.Integer({ minimum: 8, maximum: 8192, description: 'pixels' }),
    height: Type.Integer({ minimum: 8, maximum: 8192, description: 'pixels' }),
  },
  { $id: 'Sampler', additionalProperties: false },
);
export type Sampler = Static<typeof Sampler>;
export const SamplerRequest = Type.Partial(Sampler, {
  $id: 'SamplerRequest',
  additionalProperties: false,
  description: "what is left out comes from the preset and the model's defaults",
});
export type SamplerRequest = Static<typeof SamplerRequest>;

/** How a list is paged. */
export function pageQuery(kind: IdKind) {
  return {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
    after: Type.Optional(Id(kind, 'the last entry of the page before')),
  };
}

/** A page of a list, newest first. */
export function Page<T extends TSchema>(item: T, $id: string) {
  return Type.Object(
    {
      data: Type.Array(Link(item)),
      hasMore: Type.Boolean({
        description:
          'a filter that passes over thousands ends a page early: it may be short, or empty, and have more',
      }),
      nextAfter: Nullable(Type.String({ description: 'give it as `after` for the next page' })),
    },
    { $id },
  );
}
