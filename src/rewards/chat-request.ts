import type { ChatReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { encodePicture } from '../pictures/picture-file.ts';
import { RewardError } from './scorer.ts';

/** A field of a request that not every server takes; the judgement needs none of them. */
export type OptionalField = 'response_format' | 'temperature' | 'max_tokens' | 'max_completion_tokens';

/** How errors of servers name each optional field. */
const FIELD_NAMES: { readonly [field in OptionalField]: RegExp } = {
  response_format: /response.?format|json.?schema|structured|guided/i,
  temperature: /temperature/i,
  max_tokens: /max_(completion_)?tokens/i,
  max_completion_tokens: /max_completion_tokens/i,
};

/** Status codes with which servers refuse a field of the request that they do not support. */
const REFUSALS = [400, 404, 422, 500, 501];

/** The most likely tokens that a server lists for each position. OpenAI's limit is 20. */
const TOP_LOGPROBS = 20;

/** Creates the messages that ask for a judgement of `pictures`. */
export async function createMessages(
  { rubric, scale, answer }: ChatReward,
  pictures: readonly Picture[],
  prompt: string,
): Promise<object[]> {
  const images = await Promise.all(pictures.map((picture) => encodePicture(picture, 'png')));
  const score = `a number from ${scale[0]} to ${scale[1]}`;
  const instruction =
    answer === 'yes-probability'
      ? 'You judge pictures. Answer with one word: Yes or No.'
      : pictures.length === 1
        ? `You judge pictures. Answer with JSON: {"reason": one sentence, "score": ${score}}.`
        : `You judge ${pictures.length} pictures, each by itself. Answer with JSON: {"judgements": ` +
          `[{"reason": one sentence, "score": ${score}}, ...]}, one entry for each picture, in their order.`;
  return [
    { role: 'system', content: instruction },
    {
      role: 'user',
      content: [
        // A function, so that `$&` in a prompt is not read as a replacement pattern.
        { type: 'text', text: rubric.replaceAll('{prompt}', () => prompt) },
        ...images.map((png) => ({
          type: 'image_url',
          image_url: { url: `data:image/png;base64,${Buffer.from(png).toString('base64')}` },
        })),
      ],
    },
  ];
}

/**
 * Creates the body of a request, without the fields that the server refused. A server that refuses
 * `max_tokens` gets `max_completion_tokens` in its place.
 */
export function createBody(
  reward: ChatReward,
  messages: readonly object[],
  pictures: number,
  refused: ReadonlySet<OptionalField>,
): { readonly [field: string]: unknown } {
  const { model, temperature, maxTokens, answer } = reward;
  const isProbability = answer === 'yes-probability';
  const limitField = refused.has('max_tokens') ? 'max_completion_tokens' : 'max_tokens';
  const optional: { readonly [field: string]: unknown } = {
    temperature: temperature ?? undefined,
    [limitField]: maxTokens ?? undefined,
    response_format: isProbability ? undefined : answerFormat(reward.scale, pictures),
  };
  const sent = Object.entries(optional).filter(
    ([field, value]) => value !== undefined && !refused.has(field as OptionalField),
  );
  const logprobs = isProbability ? { logprobs: true, top_logprobs: TOP_LOGPROBS } : {};
  return { model, ...logprobs, ...Object.fromEntries(sent), messages };
}

/** OpenAI's structured outputs: the schema of the answer. */
function answerFormat([minimum, maximum]: readonly [number, number], pictures: number): object {
  const judgement = {
    type: 'object',
    properties: { reason: { type: 'string' }, score: { type: 'number', minimum, maximum } },
    required: ['reason', 'score'],
    additionalProperties: false,
  };
  const schema =
    pictures === 1
      ? judgement
      : {
          type: 'object',
          properties: { judgements: { type: 'array', items: judgement } },
          required: ['judgements'],
          additionalProperties: false,
        };
  return { type: 'json_schema', json_schema: { name: 'judgement', strict: true, schema } };
}

/**
 * The optional field that a server seems to have refused: the one that its error names, else the
 * schema, which fewest servers take.
 * @param body of the request that failed
 * @returns null if the error is no refusal of a field
 */
export function refusedField(
  error: unknown,
  body: { readonly [field: string]: unknown },
): OptionalField | null {
  if (!(error instanceof RewardError) || !REFUSALS.includes(error.status ?? 0)) return null;
  const sent = (Object.keys(FIELD_NAMES) as OptionalField[]).filter((field) => field in body);
  const named = sent.find((field) => FIELD_NAMES[field].test(error.message));
  return named ?? (sent.includes('response_format') ? 'response_format' : null);
}
