import { STREAMS } from '../../core/noise.ts';
import { dimension } from '../distributions/check.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import { mean, sampleStandardDeviation } from '../statistics.ts';
import { blend, chooseCentres, type Elite, packElites, unpackElites } from './elite.ts';
import type { Kernel } from './gaussian-process.ts';
import { Lineage } from './lineage.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

interface Settings {
  readonly batchSize: number;
  readonly components: number;
  readonly warmUp: number;
  readonly searchC: number;
  readonly c: number;
  readonly trust: number;
  readonly power: number;
  readonly nugget: number;
}

/**
 * Lineages climbed by Gaussian processes.
 *
 * 1. A share `warmUp` of the budget is drawn from N(0, I); its best `components` draws found a lineage each. Draws of N(0, I) are all but orthogonal, so
 *    the lineages stay apart, which is what keeps the learned distribution's pictures different from each other.
 * 2. Each lineage in turn proposes near its centre, at cosine `searchC`, on the shell. The rewards of a lineage condition a Gaussian process over directions
 *    of noise, whose covariance falls off with the `power` of their cosine, with a `nugget` for what neighbours say nothing of (Matheron 1963;
 *    Rasmussen and Williams 2006, section 2.2). The next centre is where its mean is highest on the sphere of the lineage's span: not the best
 *    key, which is mostly the luckiest, but the combination of all draws that is expected to be best.
 * 3. The distribution is a mixture with equal weights of z = c * anchor_k + sqrt(1 - c^2) * eps, one component per lineage. An anchor is half way
 *    (`trust`) between the centre, which has never been seen, and the lineage's best key, which has.
 *
 * Kernel and cosines are one set for all prompts and budgets. A step costs O(n^2 d / components) for n draws of d numbers.
 */
class GaussianProcessSearch implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #kernel: Kernel;
  readonly #dimension: number;
  readonly #warmUpEnd: number;
  /** The best warm-up draws, best first: the founders to be. */
  #founders: Elite[] = [];
  #warmUpRewards: number[] = [];
  #lineages: Lineage[] = [];
  #asked: { proposal: Proposal; lineage: Lineage | null }[] = [];
  #count = 0;

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#kernel = { linear: 0, smooth: 1 - settings.nugget, power: settings.power, nugget: settings.nugget };
    this.#dimension = dimension(problem.shape);
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
  }

  batchSize(): number {
    const end = this.#count < this.#warmUpEnd ? this.#warmUpEnd : this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, end - this.#count));
  }

  ask(count: number): Proposal[] {
    const scale = this.#scale();
    this.#asked = Array.from({ length: count }, (_, i) => {
      const index = this.#count + i;
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index };
      const eps = standardNormal(key, this.#dimension);
      if (this.#lineages.length === 0) return { proposal: { key, values: eps }, lineage: null };
      const lineage = this.#lineages[index % this.#lineages.length];
      const noise = blend(lineage.centre(scale), eps, this.#settings.searchC);
      return { proposal: { key, values: noise }, lineage };
    });
    return this.#asked.map(({ proposal }) => proposal);
  }

  tell(rewards: readonly number[]): void {
    for (const [i, reward] of rewards.entries()) {
      const { proposal, lineage } = this.#asked[i];
      const { index } = proposal.key;
      const point = { index, reward, founder: lineage?.founder ?? index, noise: proposal.values };
      if (lineage) {
        lineage.add(point);
        continue;
      }
      this.#warmUpRewards.push(reward);
      this.#founders.push(point);
    }
    this.#founders = chooseCentres(this.#founders, { elites: this.#settings.components, perFounder: 1 });
    this.#count += rewards.length;
    if (this.#count >= this.#warmUpEnd && this.#lineages.length === 0) {
      this.#lineages = this.#founders.map((founder) => {
        const lineage = new Lineage(this.#kernel);
        lineage.add(founder);
        return lineage;
      });
    }
  }

  policy(): NoiseDistribution {
    const { shape } = this.#problem;
    if (this.#count === 0) return standardNormalDistribution(shape);
    const scale = this.#scale();
    const centres =
      this.#lineages.length > 0
        ? this.#lineages.map((lineage) => lineage.anchor(scale, this.#settings.trust))
        : this.#founders.map(({ noise }) => noise);
    return anchoredDistribution(shape, centres, this.#settings.c);
  }

  summary(): { readonly [key: string]: unknown } {
    const scale = this.#scale();
    return {
      lineages: this.#lineages.map((lineage) => ({
        founder: lineage.founder,
        draws: lineage.points.length,
        best: Math.max(...lineage.points.map(({ reward }) => reward)),
        expected: lineage.expected(scale),
      })),
    };
  }

  state(): OptimizerState {
    const founders = packElites(this.#founders, this.#dimension);
    const lineages = this.#lineages.map((lineage) => lineage.state(this.#dimension));
    return {
      values: {
        count: this.#count,
        warmUpRewards: [...this.#warmUpRewards],
        founders: founders.values,
        lineages: lineages.map(({ values }) => values),
      },
      tensors: {
        founders: founders.noises,
        ...Object.fromEntries(lineages.map(({ noises }, k) => [`lineage.${k}`, noises])),
      },
    };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#warmUpRewards = [...(values.warmUpRewards as number[])];
    this.#founders = unpackElites(values.founders, tensors.founders, this.#dimension);
    this.#lineages = (values.lineages as unknown[]).map((points, k) =>
      Lineage.restore(this.#kernel, points, tensors[`lineage.${k}`], this.#dimension),
    );
  }

  /** Of the rewards of N(0, I). */
  #scale(): { mean: number; deviation: number } {
    const rewards = this.#warmUpRewards;
    if (rewards.length < 2) return { mean: 0, deviation: 1 };
    return { mean: mean(rewards), deviation: sampleStandardDeviation(rewards) || 1 };
  }
}

export const gp: OptimizerDefinition = {
  name: 'gp',
  aliases: ['kriging'],
  title: 'Lineages climbed by Gaussian processes',
  source:
    'findery; Gaussian process regression as in Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", section 2.2',
  parameters: {
    batchSize: { type: 'integer', default: 4, minimum: 1, maximum: 256, description: 'draws an iteration' },
    components: {
      type: 'integer',
      default: 2,
      minimum: 1,
      maximum: 64,
      description: 'components of the distribution',
    },
    warmUp: {
      type: 'number',
      default: 0.2,
      minimum: 0.01,
      maximum: 1,
      description: 'share of the budget drawn from N(0, I)',
    },
    searchC: {
      type: 'number',
      default: 0.9,
      minimum: 0.1,
      maximum: 0.99,
      description: 'cosine of a proposal to the centre of its lineage',
    },
    c: {
      type: 'number',
      default: 0.99,
      minimum: 0.1,
      maximum: 0.99,
      description: 'cosine of a sample of the distribution to its anchor',
    },
    trust: {
      type: 'number',
      default: 0.5,
      minimum: 0,
      maximum: 1,
      description:
        "share of the Gaussian process's optimum in an anchor; the rest is the best key of its lineage",
    },
    power: {
      type: 'number',
      default: 4,
      minimum: 1,
      maximum: 64,
      description: 'of the cosine of two noises by which the covariance of their rewards falls off',
    },
    nugget: {
      type: 'number',
      default: 0.25,
      minimum: 0.001,
      maximum: 0.9,
      description: 'share of the variance of a reward that its neighbours say nothing of',
    },
  },
  create: (problem, parameters) => new GaussianProcessSearch(problem, parameters as unknown as Settings),
};
