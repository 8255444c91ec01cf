import type { Evaluator } from '../core/evaluator.ts';
import type { Picture } from '../core/picture.ts';
import type { Optimizer } from '../numerics/optimizers/optimizer.ts';

/** Limits of a search; the first one reached ends it. */
export interface Budget {
  /** Images, each a full denoising. */
  readonly images: number;
  /** Seconds of search, summed over interruptions. */
  readonly seconds: number | null;
  /** Mean reward of an iteration that ends the search. */
  readonly targetReward: number | null;
  /** Images without a new best reward. */
  readonly patience: number | null;
}

/** State of a search after an iteration. A checkpoint is this and the state of the optimizer. */
export interface SearchProgress {
  /** Number of finished iterations. */
  readonly iteration: number;
  /** Rewards of all noises so far, in order; one image was spent for each. */
  readonly rewards: readonly number[];
  /** Mean reward of each iteration. */
  readonly means: readonly number[];
  /** Index in `rewards` of the first highest one; -1 before the first iteration. */
  readonly bestIndex: number;
  /** Seconds of search so far. */
  readonly seconds: number;
}

/** The result of one iteration. */
export interface Iteration {
  /** State after this iteration. */
  readonly progress: SearchProgress;
  /** Reward of each noise of this iteration. */
  readonly rewards: readonly number[];
  /** Scores of the terms for each noise, before weighting; empty if the evaluator reports none. */
  readonly terms: readonly (readonly number[])[];
  /** The picture of the highest reward so far, if this iteration has it; null without pictures. */
  readonly newBest: Picture | null;
}

/** State of a search before its first iteration. */
export const SEARCH_START: SearchProgress = {
  iteration: 0,
  rewards: [],
  means: [],
  bestIndex: -1,
  seconds: 0,
};

/**
 * The optimization loop: ask the optimizer for noises, evaluate them, tell it the rewards, until
 * the budget is spent. It depends on neither models nor jobs.
 *
 * The loop is deterministic: the same optimizer, or one restored to `start`, ends in the same state
 * bit for bit. This holds if the evaluator gives the same rewards, and neither a limit of seconds
 * nor an abort ends the search.
 * @returns the state after the last iteration
 * @throws the signal's reason if it is aborted; any error of the evaluator or of `onIteration`
 */
export async function runSearch(parameters: {
  readonly optimizer: Optimizer;
  readonly evaluator: Evaluator;
  readonly budget: Budget;
  /** A monotonic clock in milliseconds. */
  readonly now: () => number;
  /** State to continue from; by default `SEARCH_START`. */
  readonly start?: SearchProgress;
  readonly signal?: AbortSignal;
  /** Awaited after each iteration. */
  readonly onIteration?: (iteration: Iteration) => Promise<void> | void;
}): Promise<SearchProgress> {
  const { optimizer, evaluator, budget, now, signal } = parameters;
  let progress = parameters.start ?? SEARCH_START;
  const began = now() - progress.seconds * 1000;

  while (!isSpent(progress, budget)) {
    signal?.throwIfAborted();
    const remaining = budget.images - progress.rewards.length;
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), remaining));
    const previousBest =
      progress.bestIndex < 0 ? Number.NEGATIVE_INFINITY : progress.rewards[progress.bestIndex];
    const evaluations = await evaluator.evaluate(proposals, {
      reward: true,
      pictures: true,
      bestAbove: previousBest,
      signal,
    });
    const rewards = evaluations.map(({ reward }) => reward as number);
    optimizer.tell(rewards);

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

/** Whether a limit is reached. Only `images` can end a search before its first iteration. */
function isSpent({ rewards, means, bestIndex, seconds }: SearchProgress, budget: Budget): boolean {
  if (rewards.length >= budget.images) return true;
  if (rewards.length === 0) return false;
  return (
    (budget.seconds !== null && seconds >= budget.seconds) ||
    (budget.targetReward !== null && means[means.length - 1] >= budget.targetReward) ||
    (budget.patience !== null && rewards.length - 1 - bestIndex >= budget.patience)
  );
}
