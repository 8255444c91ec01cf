import { describe, expect, it } from 'vitest';
import type { Evaluator } from '../../src/core/evaluator.ts';
import type { Optimizer } from '../../src/numerics/optimizers/optimizer.ts';
import {
  type Budget,
  type Iteration,
  runSearch,
  SEARCH_START,
  type SearchProgress,
} from '../../src/search/search-loop.ts';

const UNLIMITED: Budget = { images: 1000, seconds: null, targetReward: null, patience: null };
const picture = { width: 1, height: 1, pixels: new Uint8Array(3) };

/** An optimizer that proposes consecutive keys in batches of 2, and records the rewards. */
function recorder(firstIndex = 0): { optimizer: Optimizer; rewardsSeen: number[][] } {
  let index = firstIndex;
  const rewardsSeen: number[][] = [];
  const optimizer = {
    batchSize: () => 2,
    ask: (count: number) =>
      Array.from({ length: count }, () => ({
        key: { seed: 1, stream: 0, index: index++ },
        values: new Float32Array(1),
      })),
    tell: (rewards: readonly number[]) => rewardsSeen.push([...rewards]),
  };
  // The loop uses no more of an optimizer than these three methods.
  return { optimizer: optimizer as unknown as Optimizer, rewardsSeen };
}

/** Gives the noise with index i the reward `rewards[i]`. */
function evaluatorOf(rewards: readonly number[]): Evaluator {
  return {
    shape: [1],
    promptEmbedding: new Float32Array(),
    evaluate: async (noises, { signal }) => {
      signal?.throwIfAborted();
      return noises.map(({ key }) => ({ reward: rewards[key.index], terms: [key.index], picture }));
    },
  };
}

/** Runs a search whose clock advances by one second at each reading. */
async function search(
  rewards: readonly number[],
  options: { budget?: Partial<Budget>; start?: SearchProgress; signal?: AbortSignal } = {},
) {
  const { start, signal } = options;
  const { optimizer, rewardsSeen } = recorder(start?.rewards.length);
  const iterations: Iteration[] = [];
  let clock = 0;
  const progress = await runSearch({
    optimizer,
    evaluator: evaluatorOf(rewards),
    budget: { ...UNLIMITED, ...options.budget },
    now: () => 1000 * clock++,
    start,
    signal,
    onIteration: (iteration) => void iterations.push(iteration),
  });
  return { progress, iterations, rewardsSeen };
}

describe('runSearch', () => {
  it('spends exactly the budget of images, with a smaller last batch', async () => {
    const { progress, rewardsSeen } = await search([5, 1, 2, 8, 3], { budget: { images: 5 } });
    expect(rewardsSeen).toEqual([[5, 1], [2, 8], [3]]);
    expect(progress).toEqual({
      iteration: 3,
      rewards: [5, 1, 2, 8, 3],
      means: [3, 5, 3],
      bestIndex: 3,
      seconds: 3,
    });
  });

  it('reports a picture for each iteration with a new best reward, and for no other', async () => {
    const { iterations } = await search([5, 1, 2, 5, 3, 9], { budget: { images: 6 } });
    expect(iterations.map(({ newBest }) => newBest)).toEqual([picture, null, picture]);
    expect(iterations.map(({ progress }) => progress.bestIndex)).toEqual([0, 0, 5]);
    expect(iterations.map(({ terms }) => terms)).toEqual([
      [[0], [1]],
      [[2], [3]],
      [[4], [5]],
    ]);
  });

  it.each([
    ['seconds', { seconds: 2 }, 4],
    ['targetReward', { targetReward: 4 }, 6],
    ['patience', { patience: 2 }, 4],
  ])('ends at the limit of %s', async (_, budget, images) => {
    const { progress } = await search([3, 1, 0, 0, 4, 4, 0, 0], { budget: { images: 8, ...budget } });
    expect(progress.rewards).toHaveLength(images);
  });

  it('runs one iteration even if no time is left', async () => {
    const { progress } = await search([1, 2, 3, 4], { budget: { seconds: 0 } });
    expect(progress.iteration).toBe(1);
  });

  it('continues from a start as if it had never stopped', async () => {
    const rewards = [5, 1, 2, 8, 3, 4];
    const whole = await search(rewards, { budget: { images: 6 } });
    const first = await search(rewards, { budget: { images: 4 } });
    const second = await search(rewards, { budget: { images: 6 }, start: first.progress });
    expect({ ...second.progress, seconds: 0 }).toEqual({ ...whole.progress, seconds: 0 });
    expect(second.progress.seconds).toBeGreaterThan(first.progress.seconds);
  });

  it('does nothing if the start has spent the budget', async () => {
    const start = { ...SEARCH_START, iteration: 1, rewards: [1, 2], means: [1.5], bestIndex: 1 };
    const { progress, rewardsSeen } = await search([1, 2], { budget: { images: 2 }, start });
    expect(progress).toBe(start);
    expect(rewardsSeen).toEqual([]);
  });

  it('rejects with the reason of its signal', async () => {
    const reason = new Error('enough');
    await expect(search([1, 2], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
