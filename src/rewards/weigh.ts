import type { RewardBundle } from '../bundles/reward-bundle.ts';
import type { Evaluation, Evaluator, ImagePipeline } from '../core/evaluator.ts';
import { chatScorer } from './chat.ts';
import { httpScorer } from './http.ts';
import { inParallel } from './in-parallel.ts';
import { jpegSizeScorer } from './jpeg-size.ts';
import { RewardError, type Scorer } from './scorer.ts';

/** Optimizers square rewards, in 32 bits some of them. */
const LARGEST_REWARD = 1e12;

/** A reward and what its score counts for. */
export interface Term {
  readonly reward: RewardBundle;
  /** Finite; negative: less is better. */
  readonly weight: number;
}

/**
 * A generator whose reward is the weighted sum of the terms: reward = sum of weight * score. The image pipeline gives the scores of the terms that are graphs, in
 * their order; the others are asked for theirs with the pictures, all at once.
 * @param terms none: pictures only
 */
export function weighRewards(
  pipeline: ImagePipeline,
  terms: readonly Term[],
  prompt: string,
  environment: NodeJS.ProcessEnv = process.env,
): Evaluator {
  const scorers = terms.map(({ reward }) => scorerOf(reward, environment));
  const needsPictures = scorers.some((scorer) => scorer !== null);
  return {
    shape: pipeline.shape,
    promptEmbedding: pipeline.promptEmbedding,
    async evaluate(draws, { reward: wantsReward, pictures, signal }) {
      if (wantsReward && terms.length === 0)
        throw new RangeError('A reward is asked for, but there is none.');
      const painted = await pipeline.evaluate(draws, {
        scores: wantsReward && scorers.includes(null),
        pictures: pictures || (wantsReward && needsPictures),
        signal,
      });
      if (!wantsReward) return painted.map(({ picture }) => ({ reward: null, terms: null, picture }));
      let graphs = 0;
      const columns = await inParallel(
        scorers.map((scorer) => {
          if (scorer) {
            const all = painted.map(({ picture }) => picture as NonNullable<typeof picture>);
            return (signal) => scorer.score(all, prompt, signal);
          }
          const column = graphs++;
          return async () => painted.map(({ scores }) => (scores as readonly number[])[column]);
        }),
        scorers.length,
        signal,
      );
      return painted.map(({ picture }, i): Evaluation => {
        const scores = columns.map((column) => column[i]);
        return { reward: weigh(terms, scores), terms: scores, picture: pictures ? picture : null };
      });
    },
  };
}

function weigh(terms: readonly Term[], scores: readonly number[]): number {
  const reward = terms.reduce((sum, { weight }, k) => sum + weight * scores[k], 0);
  if (Math.abs(reward) <= LARGEST_REWARD) return reward;
  const sum = terms.map((term, k) => `${term.weight} x ${scores[k]} ("${term.reward.name}")`).join(' + ');
  throw new RewardError(
    `The reward of a picture is ${sum}; it has to lie within -${LARGEST_REWARD} and ${LARGEST_REWARD}. Give smaller scores or weights.`,
    { isTransient: false },
  );
}

/** The terms whose scores a image pipeline gives. */
export function graphRewards(terms: readonly Term[]) {
  return terms.map(({ reward }) => reward).filter((reward) => reward.type === 'graph');
}

/** null: the engine scores it. */
function scorerOf(reward: RewardBundle, environment: NodeJS.ProcessEnv): Scorer | null {
  switch (reward.type) {
    case 'graph':
      return null;
    case 'jpeg-size':
      return jpegSizeScorer(reward);
    case 'http':
      return httpScorer(reward, environment);
    case 'chat':
      return chatScorer(reward, environment);
  }
}
