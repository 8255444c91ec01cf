import type { ChatReward } from '../bundles/reward-bundle.ts';
import { encodePicture } from '../pictures/encode.ts';
import type { Picture } from '../search/generator.ts';
import { callService, expandHeaders, inParallel } from './call-service.ts';
import { RewardError, type Scorer, shorten } from './scorer.ts';

/** Tries at an answer that can be read, beyond what `callService` tries. */
const READINGS = 2;

/**
 * A language model that sees pictures as the judge, as FIND's authors suggest (Chen et al. 2024, section 5): one question a picture to an
 * OpenAI-compatible `/chat/completions`, answered as JSON by a schema. Servers that ignore the schema are understood too, as long as
 * the answer has such an object in it. Scores are mapped from the scale of the question to `range`.
 */
export function chatScorer(reward: ChatReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, scale, concurrency } = reward;
  const [lowest, highest] = reward.range ?? [0, 1];
  const judge = async (picture: Picture, prompt: string, signal?: AbortSignal): Promise<number> => {
    const headers = expandHeaders(name, reward.headers, environment);
    const body = await question(reward, picture, prompt);
    const url = `${reward.baseUrl}/chat/completions`;
    let answer: unknown;
    for (let reading = 0; reading < READINGS; reading++) {
      const { timeoutSeconds, retries } = reward;
      answer = await callService({ name, url, headers, timeoutSeconds, retries, body, signal });
      const score = readScore(answer, scale);
      if (score !== null) return lowest + ((score - scale[0]) / (scale[1] - scale[0])) * (highest - lowest);
    }
    throw new RewardError(
      `The reward "${name}" (${reward.model} at ${url}) answered ${shorten(contentOf(answer) ?? answer)}; its answer has to be {"score": a number from ${scale[0]} to ${scale[1]}, "reason": text}.`,
      { isTransient: false },
    );
  };
  return {
    score: (pictures, prompt, signal) =>
      inParallel(
        pictures.map((picture) => () => judge(picture, prompt, signal)),
        concurrency,
      ),
  };
}

async function question({ model, rubric, scale }: ChatReward, picture: Picture, prompt: string): Promise<unknown> {
  const png = Buffer.from(await encodePicture(picture, 'png')).toString('base64');
  const [minimum, maximum] = scale;
  const schema = {
    type: 'object',
    properties: { reason: { type: 'string' }, score: { type: 'number', minimum, maximum } },
    required: ['reason', 'score'],
    additionalProperties: false,
  };
  return {
    model,
    temperature: 0,
    messages: [
      {
        role: 'system',
        content: `You judge pictures. Answer with JSON: {"reason": one sentence, "score": a number from ${minimum} to ${maximum}}.`,
      },
      {
        role: 'user',
        content: [
          { type: 'text', text: rubric.replaceAll('{prompt}', prompt) },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
        ],
      },
    ],
    response_format: { type: 'json_schema', json_schema: { name: 'judgement', strict: true, schema } },
  };
}

function contentOf(answer: unknown): string | null {
  const { choices } = (answer ?? {}) as { choices?: { message?: { content?: unknown } }[] };
  const content = Array.isArray(choices) ? choices[0]?.message?.content : null;
  return typeof content === 'string' ? content : null;
}

/** The score in an answer; null: there is none that can be read. */
function readScore(answer: unknown, [minimum, maximum]: readonly [number, number]): number | null {
  const found = contentOf(answer)?.match(/\{[^{}]*\}/);
  if (!found) return null;
  try {
    const { score } = JSON.parse(found[0]) as { score?: unknown };
    return typeof score === 'number' && score >= minimum && score <= maximum ? score : null;
  } catch {
    return null;
  }
}
