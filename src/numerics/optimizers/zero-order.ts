import { STREAMS } from '../../core/noise.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import { blend, type Elite, packElites, projectToShell, unpackElites } from './elite.ts';
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
    description: 'neighbours per iteration',
  },
  c: {
    type: 'number',
    default: 0.95,
    minimum: 0.1,
    maximum: 0.99,
    description: 'cosine of a neighbour, and of a sample of the distribution, to the pivot',
  },
} as const satisfies ParameterDescriptions;

/**
 * Zero-order search (Ma et al. 2025, section 3.1). The first iteration proposes noises from N(0,
 * I); the best noise is the pivot. Every later iteration proposes neighbours of the pivot at cosine
 * `c`, and a better neighbour becomes the next pivot.
 *
 * The learned distribution is the neighbourhood of the last pivot. It has a single component, so
 * its pictures resemble each other.
 */
class ZeroOrder implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  readonly #dimension: number;
  /** The best noise so far; null before the first rewards. */
  #pivot: Elite | null = null;
  #asked: Proposal[] = [];
  #count = 0;

  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
  }

  batchSize(): number {
    return this.#settings.batchSize;
  }

  ask(count: number): Proposal[] {
    const pivot = this.#pivot && projectToShell(this.#pivot.noise);
    this.#asked = Array.from({ length: count }, (_, i) => {
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index: this.#count + i };
      const eps = standardNormal(key, this.#dimension);
      return { key, values: pivot ? blend(pivot, eps, this.#settings.c) : eps };
    });
    return this.#asked;
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      if (this.#pivot && reward <= this.#pivot.reward) continue;
      const { key, values: noise } = this.#asked[i];
      this.#pivot = { index: key.index, reward, founder: this.#pivot?.founder ?? key.index, noise };
    }
    this.#count += rewards.length;
  }

  policy(): NoiseDistribution {
    if (!this.#pivot) return standardNormalDistribution(this.#problem.shape);
    return anchoredDistribution(this.#problem.shape, [projectToShell(this.#pivot.noise)], this.#settings.c);
  }

  summary(): { readonly [key: string]: unknown } {
    return { pivot: this.#pivot && { index: this.#pivot.index, reward: this.#pivot.reward } };
  }

  state(): OptimizerState {
    const { values, noises } = packElites(this.#pivot ? [this.#pivot] : [], this.#dimension);
    return { values: { count: this.#count, pivot: values }, tensors: { pivot: noises } };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#pivot = unpackElites(values.pivot, tensors.pivot, this.#dimension)[0] ?? null;
  }
}

/** Definition of `zero-order`. */
export const zeroOrder: OptimizerDefinition = {
  name: 'zero-order',
  title: 'Zero-order search around a pivot',
  source:
    'Ma et al. 2025, "Inference-time scaling for diffusion models beyond scaling denoising steps" ' +
    '(arXiv 2501.09732), section 3',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new ZeroOrder(problem, settings),
};
