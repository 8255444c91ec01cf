import type { Evaluator } from '../core/evaluator.ts';
import type { Picture } from '../core/picture.ts';
import type { Optimizer } from '../numerics/optimizers/optimizer.ts';

/** When a search stops: whichever comes first. */
export interface Budget {
  /** Full denoisings. */
  readonly images: number;
  /** Seconds of search, counted through interruptions. */
  readonly seconds: number | null;
  /** Mean reward of an iteration that is good enough. */
  readonly targetReward: number | null;
  /** Images without a new best reward. */
  readonly patience: number | null;
}

/** Where a search stands after an iteration: what a checkpoint must hold besides the optimizer's state. */
export interface SearchProgress {
  /** Iterations done. */
  readonly iteration: number;
  /** Rewards of all draws so far, in order; its length is the number of images spent. */
  readonly rewards: readonly number[];
  /** Mean reward of each iteration. */
  readonly means: readonly number[];
  /** Index of the first draw with the highest reward. */
  readonly bestIndex: number;
  /** Seconds of search so far. */
  readonly seconds: number;
}

export interface Iteration {
  readonly progress: SearchProgress;
  /** Rewards of this iteration's draws. */
  readonly rewards: readonly number[];
  /** Scores of each draw's terms, where the reward has several. */
  readonly terms: readonly (readonly number[])[];
  /** The picture of this iteration's best draw, when it is the best so far and there are pictures. */
  readonly newBest: Picture | null;
}

export const SEARCH_START: SearchProgress = {
  iteration: 0,
  rewards: [],
  means: [],
  bestIndex: -1,
  seconds: 0,
};

/**
 * The optimisation loop: ask, generate and score, tell, until the budget is spent. It knows neither models nor jobs. After
 * each iteration `onIteration` is awaited; what it throws ends the search.
 *
 * Given the same optimizer (or one that was restored to `start`), it ends in the same state to the bit, provided that the
 * generator gives the same rewards and neither time nor abortion cuts it short.
 */
export async function runSearch(parameters: {
  readonly optimizer: Optimizer;
  readonly evaluator: Evaluator;
  readonly budget: Budget;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  readonly start?: SearchProgress;
  readonly signal?: AbortSignal;
  readonly onIteration?: (iteration: Iteration) => Promise<void> | void;
}): Promise<SearchProgress> {
  const { optimizer, evaluator, budget, now, signal } = parameters;
  let progress = parameters.start ?? SEARCH_START;
  const began = now() - progress.seconds * 1000;

  while (!isSpent(progress, budget)) {
    signal?.throwIfAborted();
    const left = budget.images - progress.rewards.length;
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), left));
    const evaluations = await evaluator.evaluate(proposals, { reward: true, pictures: true, signal });
    const rewards = evaluations.map(({ reward }) => reward as number);
    optimizer.tell(rewards);

    const previousBest =
      progress.bestIndex < 0 ? Number.NEGATIVE_INFINITY : progress.rewards[progress.bestIndex];
    const best = rewards.indexOf(Math.max(...rewards));
    const isNewBest = rewards[best] > previousBest;
    progress = {
      iteration: progress.iteration + 1,
      rewards: [...progress.rewards, ...rewards],
      means: [...progress.means, rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length],
      bestIndex: isNewBest ? progress.rewards.length + best : progress.bestIndex,
      seconds: (now() - began) / 1000,
    };
    await parameters.onIteration?.({
      progress,
      rewards,
      terms: evaluations.map(({ terms }) => terms ?? []),
      newBest: isNewBest ? evaluations[best].picture : null,
    });
  }
  return progress;
}

function isSpent({ rewards, means, bestIndex, seconds }: SearchProgress, budget: Budget): boolean {
  if (rewards.length >= budget.images) return true;
  if (rewards.length === 0) return false;
  return (
    (budget.seconds !== null && seconds >= budget.seconds) ||
    (budget.targetReward !== null && means[means.length - 1] >= budget.targetReward) ||
    (budget.patience !== null && rewards.length - 1 - bestIndex >= budget.patience)
  );
}
