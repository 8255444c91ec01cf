import type { ChatReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { encodePicture } from '../pictures/picture-file.ts';
import { runInParallel } from './parallel.ts';
import { excerpt, RewardError, type Scorer } from './scorer.ts';
import { callService, withoutQuery } from './service-call.ts';

/** How often a picture is judged before an answer without a score is an error. */
const MAX_JUDGEMENTS = 2;

/** Status codes with which servers refuse a field of the request that they do not support. */
const UNSUPPORTED_FIELD = [400, 422];

/**
 * Scores pictures with a vision language model as the judge, as suggested in FIND (Chen et al.
 * 2024, section 5). Each picture is one request to an OpenAI-compatible `/chat/completions`.
 *
 * The request has a JSON schema for the answer. If the server refuses the schema, this scorer sends
 * no schema from then on; if the server ignores it, any JSON object with a `score` in the answer
 * counts. Scores are mapped linearly from the reward's `scale` to its `range`.
 */
export function chatScorer(reward: ChatReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, model, scale, concurrency } = reward;
  const [lowest, highest] = reward.range ?? [0, 1];
  const url = completionsUrl(reward.baseUrl);
  let acceptsSchema = true;

  const ask = async (question: object, signal: AbortSignal): Promise<unknown> => {
    if (acceptsSchema) {
      try {
        const body = { ...question, response_format: answerFormat(scale) };
        return await callService(reward, { url, body, environment, signal });
      } catch (error) {
        if (!(error instanceof RewardError && UNSUPPORTED_FIELD.includes(error.status ?? 0))) throw error;
        acceptsSchema = false;
      }
    }
    return callService(reward, { url, body: question, environment, signal });
  };

  const judge = async (picture: Picture, prompt: string, signal: AbortSignal): Promise<number> => {
    const question = await createQuestion(reward, picture, prompt);
    let answer: unknown;
    for (let judgement = 0; judgement < MAX_JUDGEMENTS; judgement++) {
      answer = await ask(question, signal);
      const score = readScore(answer, scale);
      if (score !== null) return lowest + ((score - scale[0]) / (scale[1] - scale[0])) * (highest - lowest);
    }
    throw new RewardError(
      `The reward "${name}" (${model} at ${withoutQuery(url)}) answered ` +
        `${excerpt(contentOf(answer) ?? answer)}; its answer has to be ` +
        `{"score": a number from ${scale[0]} to ${scale[1]}, "reason": text}.`,
      { isTransient: false },
    );
  };

  return {
    score: (pictures, prompt, signal) =>
      runInParallel(
        pictures.map((picture) => (signal) => judge(picture, prompt, signal)),
        concurrency,
        signal,
      ),
  };
}

/** `baseUrl` with `/chat/completions` after its path; a query stays. */
function completionsUrl(baseUrl: string): string {
  const url = new URL(baseUrl);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/chat/completions`;
  return url.href;
}

/** OpenAI's structured outputs: the schema of the answer. */
function answerFormat([minimum, maximum]: readonly [number, number]): object {
  const schema = {
    type: 'object',
    properties: { reason: { type: 'string' }, score: { type: 'number', minimum, maximum } },
    required: ['reason', 'score'],
    additionalProperties: false,
  };
  return { type: 'json_schema', json_schema: { name: 'judgement', strict: true, schema } };
}

async function createQuestion(reward: ChatReward, picture: Picture, prompt: string): Promise<object> {
  const { model, rubric, scale, temperature } = reward;
  const png = Buffer.from(await encodePicture(picture, 'png')).toString('base64');
  const instruction =
    'You judge pictures. Answer with JSON: {"reason": one sentence, "score": a number from ' +
    `${scale[0]} to ${scale[1]}}.`;
  return {
    model,
    ...(temperature === null ? {} : { temperature }),
    messages: [
      { role: 'system', content: instruction },
      {
        role: 'user',
        content: [
          // A function, so that `$&` in a prompt is not read as a replacement pattern.
          { type: 'text', text: rubric.replaceAll('{prompt}', () => prompt) },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
        ],
      },
    ],
  };
}

/** The text of the model's answer, or of its refusal; null if the answer has neither. */
function contentOf(answer: unknown): string | null {
  const { choices } = (answer ?? {}) as {
    choices?: { message?: { content?: unknown; refusal?: unknown } }[];
  };
  const { content, refusal } = (Array.isArray(choices) ? choices[0]?.message : null) ?? {};
  if (Array.isArray(content))
    return content.map((part: { text?: unknown } | null) => part?.text ?? '').join('');
  return [content, refusal].find((text): text is string => typeof text === 'string') ?? null;
}

/** The score in an answer; null if there is none within the scale. */
function readScore(answer: unknown, [minimum, maximum]: readonly [number, number]): number | null {
  const score = findObjectWith('score', contentOf(answer) ?? '')?.score;
  return typeof score === 'number' && score >= minimum && score <= maximum ? score : null;
}

/** Limits the work on an answer of many opening braces, each of which may start an object. */
const MAX_OBJECT_STARTS = 200;

/**
 * The first JSON object in `text` that has `key`; prose, code fences and outer objects are skipped.
 */
function findObjectWith(key: string, text: string): { readonly [key: string]: unknown } | null {
  let start = text.indexOf('{');
  for (let tries = 0; start >= 0 && tries < MAX_OBJECT_STARTS; tries++) {
    const object = parseObject(text.slice(start, endOfObject(text, start)));
    if (object && key in object) return object;
    start = text.indexOf('{', start + 1);
  }
  return null;
}

/** The index after the brace that closes the one at `start`; braces in strings do not count. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const character = text[i];
    if (inString) {
      if (character === '\\') i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return i + 1;
  }
  return text.length;
}

/** `text` starts with a brace, so valid JSON is an object. */
function parseObject(text: string): { readonly [key: string]: unknown } | null {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
