import type { ChatReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { createBody, createMessages, type OptionalField, refusedField } from './chat-request.ts';
import { type JudgeAnswer, readJudgeAnswer } from './judge-answer.ts';
import { runInParallel } from './parallel.ts';
import { excerpt, RewardError, type Scorer } from './scorer.ts';
import { callService, withoutQuery } from './service-call.ts';
import { readYesProbability } from './yes-probability.ts';

/** How often pictures are judged before an answer without scores is an error. */
const MAX_JUDGEMENTS = 2;

/**
 * Scores pictures with a vision language model as the judge, as suggested in FIND (Chen et al.
 * 2024, section 5). A request to an OpenAI-compatible `/chat/completions` holds up to `batchSize`
 * pictures.
 *
 * The request has a JSON schema for the answer. If the server refuses the schema or another
 * optional field, this scorer leaves that field out from then on; if the server ignores the schema,
 * `readJudgeAnswer` finds the scores in the answer's text. Scores are mapped linearly from the
 * reward's `scale` to its `range`.
 */
export function chatScorer(reward: ChatReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, model, scale, batchSize, concurrency } = reward;
  const [lowest, highest] = reward.range ?? [0, 1];
  const url = completionsUrl(reward.baseUrl);
  const refused = new Set<OptionalField>();

  const ask = async (
    messages: readonly object[],
    pictures: number,
    signal: AbortSignal,
  ): Promise<unknown> => {
    const left = new Set(refused);
    for (;;) {
      const body = createBody(reward, messages, pictures, left);
      try {
        const answer = await callService(reward, { url, body, environment, signal });
        for (const field of left) refused.add(field);
        return answer;
      } catch (error) {
        const field = refusedField(error, body);
        if (field === null) throw withTemperatureHint(error, body);
        left.add(field);
      }
    }
  };

  const judge = async (
    pictures: readonly Picture[],
    prompt: string,
    signal: AbortSignal,
  ): Promise<readonly number[]> => {
    const messages = await createMessages(reward, pictures, prompt);
    let problem = '';
    for (let judgement = 0; judgement < MAX_JUDGEMENTS; judgement++) {
      const answer = await ask(messages, pictures.length, signal);
      if (reward.answer === 'yes-probability') {
        const probability = readYesProbability(answer);
        if (typeof probability === 'number') return [lowest + probability * (highest - lowest)];
        problem = probability.problem;
      } else {
        const read = readJudgeAnswer(answer, pictures.length);
        if (read.scores?.every((score) => score >= scale[0] && score <= scale[1]))
          return read.scores.map(
            (score) => lowest + ((score - scale[0]) / (scale[1] - scale[0])) * (highest - lowest),
          );
        problem = describeAnswer(read, answer, reward, pictures.length);
      }
    }
    throw new RewardError(`The reward "${name}" (${model} at ${withoutQuery(url)}) ${problem}`, {
      isTransient: false,
    });
  };

  return {
    async score(pictures, prompt, signal) {
      const batches = Array.from({ length: Math.ceil(pictures.length / batchSize) }, (_, i) =>
        pictures.slice(i * batchSize, (i + 1) * batchSize),
      );
      const scores = await runInParallel(
        batches.map((batch) => (signal: AbortSignal) => judge(batch, prompt, signal)),
        concurrency,
        signal,
      );
      return scores.flat();
    },
  };
}

/** `baseUrl` with `/chat/completions` after its path; a query stays. */
function completionsUrl(baseUrl: string): string {
  const url = new URL(baseUrl);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/chat/completions`;
  return url.href;
}

/** What was wrong with an answer without usable scores, and what is accepted. */
function describeAnswer(read: JudgeAnswer, answer: unknown, reward: ChatReward, pictures: number): string {
  const { scale, maxTokens } = reward;
  if (read.isCut) {
    const tokens = read.tokens === null ? '' : ` after ${read.tokens} tokens`;
    const limit = maxTokens === null ? "not set: the server's default holds" : `now ${maxTokens}`;
    return (
      `was cut${tokens} (finish_reason "length") before its score was complete. Raise maxTokens in its ` +
      `findery.json (${limit}), or let the model reason less.`
    );
  }
  if (read.isReasoningAlone)
    return (
      'answered with reasoning alone, without an answer. Turn its reasoning off, or raise its limit of ' +
      'tokens (maxTokens in its findery.json).'
    );
  const entry = `{"score": a number from ${scale[0]} to ${scale[1]}, "reason": text}`;
  const format = pictures === 1 ? entry : `{"judgements": [${entry}, ...]} with ${pictures} entries`;
  return `answered ${excerpt(read.text || answer)}; its answer has to be ${format}.`;
}

/** A refusal of a request with a temperature says how to send none. */
function withTemperatureHint(error: unknown, body: object): unknown {
  if (!(error instanceof RewardError) || !('temperature' in body)) return error;
  if (error.status !== 400 && error.status !== 422) return error;
  const hint = 'If the model takes no temperature, set "temperature": null in its findery.json.';
  return new RewardError(`${error.message} ${hint}`, error);
}
