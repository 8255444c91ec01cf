import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { LANES, standardNormal, uniform } from '../normal.ts';
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
    default: 10,
    minimum: 1,
    maximum: 256,
    description: 'maximum number of images per iteration',
  },
  population: {
    type: 'integer',
    default: 20,
    minimum: 1,
    maximum: 256,
    description: 'members of a generation',
  },
  elitism: {
    type: 'number',
    default: 0.2,
    minimum: 0,
    maximum: 0.95,
    description: 'share of a generation that survives unchanged',
  },
  mutationC: {
    type: 'number',
    default: 0.95,
    minimum: 0.1,
    maximum: 0.999,
    description: "cosine of a child to its parents' crossover",
  },
  c: {
    type: 'number',
    default: 0.98,
    minimum: 0.1,
    maximum: 0.99,
    description: 'cosine of a sample of the distribution to its member of the last population',
  },
} as const satisfies ParameterDescriptions;

/**
 * A genetic search over noises, like the CoSyNE (Gomez et al. 2008) that Jajal et al. (2025, arXiv
 * 2506.00299) run on Stable Diffusion 1.5, kept on the shell of norm sqrt(d):
 *
 * - Crossover mixes two parents a and b: w a + (1 - w) b, scaled to the shell. Parents are selected
 *   by rank, in a tournament of two.
 * - Mutation is a variance-preserving step, c z + sqrt(1 - c^2) eps with c = `mutationC`.
 * - The best share `elitism` of a generation survives; children replace the others.
 *
 * The learned distribution is anchored at the members of the last population. The published
 * searches report the mean of this population, which is their closest figure to the mean of new
 * samples.
 */
class Genetic implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  readonly #dimension: number;
  /** Members of a generation, at most the budget. */
  readonly #size: number;
  /** The latest complete generation, best first; empty during the first one. */
  #population: Elite[] = [];
  /** Children with rewards of the incomplete generation. */
  #children: Elite[] = [];
  #count = 0;
  /** Complete generations. */
  #generation = 0;
  #asked: Proposal[] = [];

  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#size = Math.max(1, Math.min(settings.population, problem.budget));
  }

  batchSize(): number {
    return Math.max(1, Math.min(this.#settings.batchSize, this.#childCount() - this.#children.length));
  }

  ask(count: number): Proposal[] {
    this.#asked = Array.from({ length: count }, (_, i) => {
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index: this.#count + i };
      const eps = standardNormal(key, this.#dimension);
      return { key, values: this.#population.length === 0 ? eps : this.#createChild(key, eps) };
    });
    return this.#asked;
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      const { key, values: noise } = this.#asked[i];
      this.#children.push({ index: key.index, reward, founder: key.index, noise });
    }
    this.#count += rewards.length;
    if (this.#children.length < this.#childCount()) return;
    const survivors = this.#population.slice(0, this.#survivorCount());
    this.#population = [...survivors, ...this.#children].sort(byReward).slice(0, this.#size);
    this.#children = [];
    this.#generation++;
  }

  policy(): NoiseDistribution {
    const members = this.#population.length > 0 ? this.#population : this.#children;
    if (members.length === 0) return standardNormalDistribution(this.#problem.shape);
    const anchors = members.map(({ noise }) => projectToShell(noise));
    return anchoredDistribution(this.#problem.shape, anchors, this.#settings.c);
  }

  summary(): { readonly [key: string]: unknown } {
    return {
      generations: this.#generation,
      population: this.#population.map(({ index, reward }) => ({ index, reward })),
    };
  }

  state(): OptimizerState {
    const population = packElites(this.#population, this.#dimension);
    const children = packElites(this.#children, this.#dimension);
    return {
      values: {
        count: this.#count,
        generation: this.#generation,
        population: population.values,
        children: children.values,
      },
      tensors: { population: population.noises, children: children.noises },
    };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#generation = values.generation as number;
    this.#population = unpackElites(values.population, tensors.population, this.#dimension);
    this.#children = unpackElites(values.children, tensors.children, this.#dimension);
  }

  #survivorCount(): number {
    return Math.min(this.#size - 1, Math.round(this.#settings.elitism * this.#size));
  }

  /** Number of children of a generation; the first one consists of children only. */
  #childCount(): number {
    return this.#population.length === 0 ? this.#size : this.#size - this.#survivorCount();
  }

  #createChild(key: NoiseKey, eps: Float32Array): Float32Array {
    const mother = this.#selectParent(uniform(key, LANES.choice));
    const father = this.#selectParent(uniform(key, LANES.secondChoice));
    const weight = uniform(key, LANES.mutation);
    const crossover = mother.noise.map((value, i) => weight * value + (1 - weight) * father.noise[i]);
    return blend(projectToShell(crossover), eps, this.#settings.mutationC);
  }

  /**
   * The better of two members that are each selected uniformly. Rank r of n (0 is best) has the
   * probability (2 (n - r) - 1) / n^2, so one uniform number `u` in [0, 1) is enough.
   */
  #selectParent(u: number): Elite {
    const rank = Math.floor(this.#population.length * (1 - Math.sqrt(1 - u)));
    return this.#population[Math.min(rank, this.#population.length - 1)];
  }
}

const byReward = (a: Elite, b: Elite) => b.reward - a.reward || a.index - b.index;

/** Definition of `genetic`. */
export const genetic: OptimizerDefinition = {
  name: 'genetic',
  title: 'Genetic search (CoSyNE-like) on the shell of noises',
  source:
    'Gomez et al. 2008 (CoSyNE, JMLR 9), as run over initial noises by Jajal et al. 2025 ' +
    '(arXiv 2506.00299); spherical mutation and normalized crossover by findery',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new Genetic(problem, settings),
};
