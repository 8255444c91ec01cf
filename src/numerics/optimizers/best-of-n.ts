import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { dimension } from '../distributions/check.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

interface Scored {
  readonly index: number;
  readonly reward: number;
}

/**
 * Random search: every key is N(0, I), and the best are remembered. What a user does by hand with seeds. Its distribution is N(0, I)
 * itself: a lucky noise says nothing of a fresh one.
 */
class BestOfN implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #batchSize: number;
  readonly #keep: number;
  #asked: NoiseKey[] = [];
  #count = 0;
  #best: Scored[] = [];

  constructor(problem: SearchProblem, { batchSize, keep }: { batchSize: number; keep: number }) {
    this.#problem = problem;
    this.#batchSize = batchSize;
    this.#keep = keep;
  }

  batchSize(): number {
    return this.#batchSize;
  }

  ask(count: number): Proposal[] {
    const { seed, shape } = this.#problem;
    this.#asked = Array.from({ length: count }, (_, i) => ({
      seed,
      stream: STREAMS.search,
      index: this.#count + i,
    }));
    return this.#asked.map((key) => ({ key, values: standardNormal(key, dimension(shape)) }));
  }

  tell(rewards: readonly number[]): void {
    const scored = rewards.map((reward, i) => ({ index: this.#asked[i].index, reward }));
    this.#best = [...this.#best, ...scored]
      .sort((a, b) => b.reward - a.reward || a.index - b.index)
      .slice(0, this.#keep);
    this.#count += rewards.length;
  }

  policy(): NoiseDistribution {
    return standardNormalDistribution(this.#problem.shape);
  }

  summary(): { readonly [key: string]: unknown } {
    const { seed } = this.#problem;
    return { best: this.#best.map(({ index, reward }) => ({ seed, stream: STREAMS.search, index, reward })) };
  }

  state(): OptimizerState {
    return { values: { count: this.#count, best: this.#best }, tensors: {} };
  }

  restore({ values }: OptimizerState): void {
    this.#count = values.count as number;
    this.#best = [...(values.best as Scored[])];
  }
}

export const bestOfN: OptimizerDefinition = {
  name: 'best-of-n',
  title: 'Random search',
  source:
    'the baseline of Ma et al. 2025, "Inference-time scaling for diffusion models beyond scaling denoising steps"',
  parameters: {
    batchSize: { type: 'integer', default: 8, minimum: 1, maximum: 256, description: 'draws an iteration' },
    keep: {
      type: 'integer',
      default: 10,
      minimum: 1,
      maximum: 100,
      description: 'best draws to be listed in the policy',
    },
  },
  create: (problem, { batchSize, keep }) =>
    new BestOfN(problem, { batchSize: Number(batchSize), keep: Number(keep) }),
};
