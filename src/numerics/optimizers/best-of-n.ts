import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  OptimizerState,
  ParameterDescriptions,
  Proposal,
  SearchProblem,
  SettingsOf,
} from './optimizer.ts';

const PARAMETERS = {
  batchSize: {
    type: 'integer',
    default: 8,
    minimum: 1,
    maximum: 256,
    description: 'images per iteration',
  },
  keep: {
    type: 'integer',
    default: 10,
    minimum: 1,
    maximum: 100,
    description: 'number of best noise keys that the policy lists',
  },
} as const satisfies ParameterDescriptions;

interface ScoredKey {
  readonly index: number;
  readonly reward: number;
}

/**
 * Random search, as users do it by hand with seeds: every proposal is a noise from N(0, I), and the
 * summary lists the best ones. The learned distribution is N(0, I) itself, because a lucky noise
 * says nothing about new ones. The baseline of Ma et al. 2025, "Inference-time scaling for
 * diffusion models beyond scaling denoising steps" (arXiv 2501.09732).
 */
class BestOfN implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  #askedKeys: NoiseKey[] = [];
  /** Rewards received so far: the index of the next noise key. */
  #count = 0;
  /** Best first. */
  #best: ScoredKey[] = [];

  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>) {
    this.#problem = problem;
    this.#settings = settings;
  }

  batchSize(): number {
    return this.#settings.batchSize;
  }

  ask(count: number): Proposal[] {
    const { seed, shape } = this.#problem;
    this.#askedKeys = Array.from({ length: count }, (_, i) => ({
      seed,
      stream: STREAMS.search,
      index: this.#count + i,
    }));
    return this.#askedKeys.map((key) => ({ key, values: standardNormal(key, dimension(shape)) }));
  }

  tell(rewards: readonly number[]): void {
    const scored = rewards.map((reward, i) => ({ index: this.#askedKeys[i].index, reward }));
    this.#best = [...this.#best, ...scored]
      .sort((a, b) => b.reward - a.reward || a.index - b.index)
      .slice(0, this.#settings.keep);
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
    this.#best = [...(values.best as ScoredKey[])];
  }
}

/** Definition of `best-of-n`. */
export const bestOfN: OptimizerDefinition = {
  name: 'best-of-n',
  title: 'Random search',
  source:
    'the baseline of Ma et al. 2025, ' +
    '"Inference-time scaling for diffusion models beyond scaling denoising steps"',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new BestOfN(problem, settings),
};
