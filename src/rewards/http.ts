import type { HttpReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { encodePicture } from '../pictures/picture-file.ts';
import { runInParallel } from './parallel.ts';
import { checkScores, excerpt, RewardError, type Scorer } from './scorer.ts';
import { callService, withoutQuery } from './service-call.ts';

/**
 * Scores pictures with a service of the operator's. One request takes up to `batchSize` pictures:
 *
 *     POST {"prompt": "...", "images": [{"mediaType": "image/png", "data": "<base64>"}, ...]}
 *     200  {"scores": [0.3, ...]}
 *
 * The address comes from the card of the reward, never from a client's request.
 */
export function httpScorer(reward: HttpReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, url, batchSize, concurrency } = reward;
  const scoreBatch = async (
    batch: readonly Picture[],
    prompt: string,
    signal: AbortSignal,
  ): Promise<number[]> => {
    const images = await Promise.all(batch.map(encodeImage));
    const answer = await callService(reward, { url, body: { prompt, images }, environment, signal });
    if (typeof answer === 'object' && answer !== null && 'scores' in answer)
      return checkScores(name, answer.scores, batch.length);
    throw new RewardError(
      `The reward "${name}" at ${withoutQuery(url)} answered ${excerpt(answer)}; it has to answer ` +
        '{"scores": [...]}, one number for each picture.',
      { isTransient: false },
    );
  };
  return {
    async score(pictures, prompt, signal) {
      const batches = Array.from({ length: Math.ceil(pictures.length / batchSize) }, (_, i) =>
        pictures.slice(i * batchSize, (i + 1) * batchSize),
      );
      const scores = await runInParallel(
        batches.map((batch) => (signal: AbortSignal) => scoreBatch(batch, prompt, signal)),
        concurrency,
        signal,
      );
      return scores.flat();
    },
  };
}

async function encodeImage(picture: Picture): Promise<{ mediaType: string; data: string }> {
  const png = await encodePicture(picture, 'png');
  return { mediaType: 'image/png', data: Buffer.from(png).toString('base64') };
}
