import type { ChatReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { encodePicture } from '../pictures/encode.ts';
import { addressOf, callService } from './call-service.ts';
import { findObject } from './find-object.ts';
import { requestHeaders } from './headers.ts';
import { inParallel } from './in-parallel.ts';
import { RewardError, type Scorer, shorten } from './scorer.ts';

/** Tries at an answer that can be read, beyond what `callService` tries. */
const READINGS = 2;

/** What servers answer to a field of the request that they do not know or can't do. */
const REFUSED_FIELD = [400, 422];

/**
 * A language model that sees pictures as the judge, as FIND's authors suggest (Chen et al. 2024, section 5): one question a picture to an
 * OpenAI-compatible `/chat/completions`, answered as JSON by a schema. Servers that ignore the schema are understood too, as long as
 * the answer has such an object in it; those that refuse it are asked without. Scores are mapped from the scale of the question to `range`.
 */
export function chatScorer(reward: ChatReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, scale, concurrency, timeoutSeconds, retries } = reward;
  const [lowest, highest] = reward.range ?? [0, 1];
  const url = completionsOf(reward.baseUrl);
  let takesSchema = true;

  const ask = async (question: object, signal: AbortSignal): Promise<unknown> => {
    const call = {
      name,
      url,
      headers: requestHeaders(name, reward.headers, environment),
      timeoutSeconds,
      retries,
      signal,
    };
    if (takesSchema) {
      try {
        return await callService({ ...call, body: { ...question, response_format: answerFormat(scale) } });
      } catch (error) {
        if (!(error instanceof RewardError && REFUSED_FIELD.includes(error.status ?? 0))) throw error;
        takesSchema = false;
      }
    }
    return callService({ ...call, body: question });
  };

  const judge = async (picture: Picture, prompt: string, signal: AbortSignal): Promise<number> => {
    const question = await questionOf(reward, picture, prompt);
    let answer: unknown;
    for (let reading = 0; reading < READINGS; reading++) {
      answer = await ask(question, signal);
      const score = readScore(answer, scale);
      if (score !== null) return lowest + ((score - scale[0]) / (scale[1] - scale[0])) * (highest - lowest);
    }
    throw new RewardError(
      `The reward "${name}" (${reward.model} at ${addressOf(url)}) answered ${shorten(contentOf(answer) ?? answer)}; its answer has to be {"score": a number from ${scale[0]} to ${scale[1]}, "reason": text}.`,
      { isTransient: false },
    );
  };

  return {
    score: (pictures, prompt, signal) =>
      inParallel(
        pictures.map((picture) => (signal) => judge(picture, prompt, signal)),
        concurrency,
        signal,
      ),
  };
}

function completionsOf(baseUrl: string): string {
  const url = new URL(baseUrl);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/chat/completions`;
  return url.href;
}

function answerFormat([minimum, maximum]: readonly [number, number]): object {
  const schema = {
    type: 'object',
    properties: { reason: { type: 'string' }, score: { type: 'number', minimum, maximum } },
    required: ['reason', 'score'],
    additionalProperties: false,
  };
  return { type: 'json_schema', json_schema: { name: 'judgement', strict: true, schema } };
}

async function questionOf(reward: ChatReward, picture: Picture, prompt: string): Promise<object> {
  const { model, rubric, scale, temperature } = reward;
  const png = Buffer.from(await encodePicture(picture, 'png')).toString('base64');
  return {
    model,
    ...(temperature === null ? {} : { temperature }),
    messages: [
      {
        role: 'system',
        content: `You judge pictures. Answer with JSON: {"reason": one sentence, "score": a number from ${scale[0]} to ${scale[1]}}.`,
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: rubric.replaceAll('{prompt}', () => prompt) },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
        ],
      },
    ],
  };
}

/** What the model said, or why it said nothing; null: there is no such text. */
function contentOf(answer: unknown): string | null {
  const { choices } = (answer ?? {}) as {
    choices?: { message?: { content?: unknown; refusal?: unknown } }[];
  };
  const { content, refusal } = (Array.isArray(choices) ? choices[0]?.message : null) ?? {};
  if (Array.isArray(content))
    return content.map((part: { text?: unknown } | null) => part?.text ?? '').join('');
  return [content, refusal].find((text): text is string => typeof text === 'string') ?? null;
}

/** The score in an answer; null: there is none that can be read. */
function readScore(answer: unknown, [minimum, maximum]: readonly [number, number]): number | null {
  const score = findObject(contentOf(answer) ?? '', 'score')?.score;
  return typeof score === 'number' && score >= minimum && score <= maximum ? score : null;
}
