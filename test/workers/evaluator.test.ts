import { describe, expect, it } from 'vitest';
import type { Evaluator } from '../../src/core/evaluator.ts';
import { EngineError, OutOfMemoryError } from '../../src/engine/errors.ts';
import { RewardError } from '../../src/rewards/scorer.ts';
import { withProblems } from '../../workers/evaluator.ts';
import { Throughput, withThroughput } from '../../workers/throughput.ts';

const OPTIONS = { reward: false, pictures: false };
const NOISES = [0, 1, 2].map((index) => ({ key: { seed: 1, stream: 0, index } }));

/** Evaluates every noise to nothing, or fails. */
function createEvaluator(error?: Error): Evaluator {
  return {
    shape: [4, 2, 2],
    promptEmbedding: new Float32Array(8),
    async evaluate(noises) {
      if (error) throw error;
      return noises.map(() => ({ reward: null, terms: null, picture: null }));
    },
  };
}

describe('withProblems', () => {
  it.each([
    [new EngineError('the graph is damaged'), 'generation-failed'],
    [new RewardError('no score', { isTransient: false }), 'reward-failed'],
  ])('turns %o into a problem', async (error, code) => {
    const evaluator = withProblems(createEvaluator(error));
    await expect(evaluator.evaluate(NOISES, OPTIONS)).rejects.toMatchObject({
      name: 'ProblemError',
      code,
      message: error.message,
    });
  });

  it.each([
    new OutOfMemoryError('too large'),
    new RewardError('away', { isTransient: true }),
    new Error('anything'),
  ])('does not change %o, because another try may succeed', async (error) => {
    await expect(withProblems(createEvaluator(error)).evaluate(NOISES, OPTIONS)).rejects.toBe(error);
  });
});

describe('withThroughput', () => {
  it('counts the noises of evaluations that succeed', async () => {
    const throughput = new Throughput();
    expect(throughput.imagesPerSecond()).toBeNull();
    await expect(
      withThroughput(createEvaluator(new Error('no')), throughput.add.bind(throughput)).evaluate(
        NOISES,
        OPTIONS,
      ),
    ).rejects.toThrow('no');
    expect(throughput.imagesPerSecond()).toBeNull();
    await withThroughput(createEvaluator(), throughput.add.bind(throughput)).evaluate(NOISES, OPTIONS);
    expect(throughput.imagesPerSecond()).toBeGreaterThan(0);
  });
});

describe('Throughput', () => {
  it('averages over the last minute of work', () => {
    const throughput = new Throughput();
    throughput.add(1000, 40_000);
    throughput.add(10, 30_000);
    throughput.add(10, 30_000);
    expect(throughput.imagesPerSecond()).toBeCloseTo(20 / 60, 12);
  });
});
