import type { HttpReward } from '../bundles/reward-bundle.ts';
import type { Picture } from '../core/picture.ts';
import { encodePicture } from '../pictures/encode.ts';
import { addressOf, callService } from './call-service.ts';
import { requestHeaders } from './headers.ts';
import { inParallel } from './in-parallel.ts';
import { checkScores, RewardError, type Scorer, shorten } from './scorer.ts';

/**
 * Scores from a service of the user's. One request takes up to `batchSize` pictures:
 *
 *     POST {"prompt": "...", "images": [{"mediaType": "image/png", "data": "<base64>"}, ...]}
 *     200  {"scores": [0.3, ...]}
 *
 * The address comes from the operator's card, never from a request.
 */
export function httpScorer(reward: HttpReward, environment: NodeJS.ProcessEnv): Scorer {
  const { name, url, timeoutSeconds, retries, batchSize, concurrency } = reward;
  return {
    async score(pictures, prompt, signal) {
      const headers = requestHeaders(name, reward.headers, environment);
      const ask = async (batch: readonly Picture[], signal: AbortSignal): Promise<number[]> => {
        const images = await Promise.all(batch.map(toImage));
        const answer = await callService({
          name,
          url,
          headers,
          timeoutSeconds,
          retries,
          body: { prompt, images },
          signal,
        });
        if (typeof answer !== 'object' || answer === null || !('scores' in answer)) {
          throw new RewardError(
            `The reward "${name}" at ${addressOf(url)} answered ${shorten(answer)}; it has to answer {"scores": [...]}, one number for each picture.`,
            { isTransient: false },
          );
        }
        return checkScores(name, answer.scores, batch.length);
      };
      const batches = Array.from({ length: Math.ceil(pictures.length / batchSize) }, (_, i) =>
        pictures.slice(i * batchSize, (i + 1) * batchSize),
      );
      const scores = await inParallel(
        batches.map((batch) => (signal) => ask(batch, signal)),
        concurrency,
        signal,
      );
      return scores.flat();
    },
  };
}

async function toImage(picture: Picture): Promise<{ mediaType: string; data: string }> {
  return {
    mediaType: 'image/png',
    data: Buffer.from(await encodePicture(picture, 'png')).toString('base64'),
  };
}
