import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { dimension } from '../distributions/check.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import { LANES, standardNormal, uniform } from '../normal.ts';
import { blend, type Elite, onShell, packElites, unpackElites } from './elite.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

interface Settings {
  readonly batchSize: number;
  readonly population: number;
  /** Share of the population that lives on unchanged. */
  readonly elitism: number;
  /** Cosine of a child to what crossover made, before its mutation. */
  readonly mutationC: number;
  /** Cosine of a draw of the distribution to its member of the population. */
  readonly c: number;
}

/**
 * A genetic search over noises, like the CoSyNE that Jajal et al. (2025, arXiv 2506.00299) run on SD 1.5, kept on the shell:
 * crossover mixes two parents, w a + (1 - w) b over sqrt(w^2 + (1 - w)^2), which has the variance of noise when a and b are
 * independent; mutation is c z + sqrt(1 - c^2) eps. Parents are drawn by rank (a tournament of two). Each generation the best
 * `elitism` of the population live on and the children take the places of the rest.
 *
 * Its distribution is anchored at its last population, the nearest thing to "a fresh key" that the published searches report.
 */
class Genetic implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #dimension: number;
  readonly #size: number;
  /** Of the latest full generation, best first. */
  #population: Elite[] = [];
  /** Children told so far of the generation under way. */
  #children: Elite[] = [];
  #count = 0;
  #generation = 0;
  #asked: Proposal[] = [];

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#size = Math.max(1, Math.min(settings.population, problem.budget));
  }

  batchSize(): number {
    return Math.max(1, Math.min(this.#settings.batchSize, this.#wanted() - this.#children.length));
  }

  ask(count: number): Proposal[] {
    this.#asked = Array.from({ length: count }, (_, i) => {
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index: this.#count + i };
      const eps = standardNormal(key, this.#dimension);
      return { key, values: this.#population.length === 0 ? eps : this.#child(key, eps) };
    });
    return this.#asked;
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      const { key, values: noise } = this.#asked[i];
      this.#children.push({ index: key.index, reward, founder: key.index, noise });
    }
    this.#count += rewards.length;
    if (this.#children.length < this.#wanted()) return;
    const survivors = this.#population.slice(0, this.#survivors());
    this.#population = [...survivors, ...this.#children].sort(byReward).slice(0, this.#size);
    this.#children = [];
    this.#generation++;
  }

  policy(): NoiseDistribution {
    const members = this.#population.length > 0 ? this.#population : this.#children;
    if (members.length === 0) return standardNormalDistribution(this.#problem.shape);
    const centres = members.map(({ noise }) => onShell(noise));
    return anchoredDistribution(this.#problem.shape, centres, this.#settings.c);
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

  #survivors(): number {
    return Math.min(this.#size - 1, Math.round(this.#settings.elitism * this.#size));
  }

  /** Children of the generation under way. */
  #wanted(): number {
    return this.#population.length === 0 ? this.#size : this.#size - this.#survivors();
  }

  #child(key: NoiseKey, eps: Float32Array): Float32Array {
    const mother = this.#parent(uniform(key, LANES.choice));
    const father = this.#parent(uniform(key, LANES.secondChoice));
    const weight = uniform(key, LANES.mutation);
    const mixed = mother.noise.map((value, i) => weight * value + (1 - weight) * father.noise[i]);
    return blend(onShell(mixed), eps, this.#settings.mutationC);
  }

  /** The better of two members, each drawn evenly: rank r of n has probability (2 (n - r) - 1) / n^2; by one uniform number. */
  #parent(u: number): Elite {
    const rank = Math.floor(this.#population.length * (1 - Math.sqrt(1 - u)));
    return this.#population[Math.min(rank, this.#population.length - 1)];
  }
}

const byReward = (a: Elite, b: Elite) => b.reward - a.reward || a.index - b.index;

export const genetic: OptimizerDefinition = {
  name: 'genetic',
  title: 'Genetic search (CoSyNE-like) on the shell of noises',
  source:
    'Gomez et al. 2008 (CoSyNE, JMLR 9), as run over initial noises by Jajal et al. 2025 (arXiv 2506.00299); spherical mutation and normalised crossover ours',
  parameters: {
    batchSize: {
      type: 'integer',
      default: 10,
      minimum: 1,
      maximum: 256,
      description: 'most draws an iteration',
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
      description: 'share of a generation that lives on unchanged',
    },
    mutationC: {
      type: 'number',
      default: 0.95,
      minimum: 0.1,
      maximum: 0.999,
      description: 'cosine of a child to what crossover made of its parents',
    },
    c: {
      type: 'number',
      default: 0.98,
      minimum: 0.1,
      maximum: 0.99,
      description: 'cosine of a sample of the distribution to its member of the last population',
    },
  },
  create: (problem, parameters) => new Genetic(problem, parameters as unknown as Settings),
};
