import { STREAMS } from '../../core/noise.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import { mean, sampleStandardDeviation } from '../statistics.ts';
import { blend, type Elite, packElites, selectElites, unpackElites } from './elite.ts';
import type { Kernel } from './gaussian-process.ts';
import { Lineage, type RewardScale } from './lineage.ts';
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
    default: 4,
    // A GPU needs as many to be busy; docs/method.md has what that costs.
    defaultOnGpu: 8,
    minimum: 1,
    maximum: 256,
    description: 'images per iteration',
  },
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
    description: 'share of the budget that is sampled from N(0, I)',
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
      "weight of the Gaussian process's optimum in an anchor; the best noise of the lineage has the rest",
  },
  power: {
    type: 'number',
    default: 4,
    minimum: 1,
    maximum: 64,
    description: 'power of the cosine of two noises with which the covariance of their rewards decreases',
  },
  nugget: {
    type: 'number',
    default: 0.25,
    minimum: 0.001,
    maximum: 0.9,
    description: 'share of the variance of a reward that its neighbours say nothing about',
  },
} as const satisfies ParameterDescriptions;

/** Most points of all lineages together: 512 noises of SDXL take 128 MiB. */
const MAX_POINTS = 512;
/** Most points of a lineage, if there are so many lineages that `MAX_POINTS` leaves fewer. */
const MIN_WINDOW = 16;

/**
 * Bayesian optimization with one Gaussian process per lineage.
 *
 * 1. Warm-up: a share `warmUp` of the budget is sampled from N(0, I). Its best `components` noises
 *    become the founders: each starts a lineage. Noises from N(0, I) are almost orthogonal, so
 *    lineages stay apart, which keeps the pictures of the learned distribution different from each
 *    other.
 * 2. Search: the lineages take turns. A lineage proposes noises at cosine `searchC` to its centre,
 *    on the shell. Its rewards condition a Gaussian process over directions of noise (Matheron
 *    1963; Rasmussen and Williams 2006, section 2.2), whose covariance decreases with the `power`
 *    of the cosine and has a `nugget` for the part of a reward that neighbours do not share. The
 *    next centre maximizes the expected reward on the sphere in the lineage's span. It is a
 *    combination of all noises, and better than the best noise, which mostly is the luckiest.
 * 3. Distribution: a mixture with equal weights of z = c * anchor_k + sqrt(1 - c^2) * eps, one
 *    component per lineage. An anchor lies between the centre, which was never evaluated, and the
 *    best noise of the lineage, which was (`trust`).
 *
 * One kernel and one set of cosines serve all prompts and budgets. An iteration costs O(n (n + d))
 * for n noises of d numbers in a lineage. n is bounded (`MAX_POINTS`), so a search may go on for
 * any number of images.
 */
export class GaussianProcessSearch implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  readonly #kernel: Kernel;
  readonly #dimension: number;
  /** Most points of a lineage. */
  readonly #window: number;
  /** Number of images after which the warm-up ends. */
  readonly #warmUpEnd: number;
  /** The best warm-up noises, best first: the future founders. */
  #founders: Elite[] = [];
  #warmUpRewards: number[] = [];
  /** One per founder; empty during the warm-up. */
  #lineages: Lineage[] = [];
  #asked: { proposal: Proposal; lineage: Lineage | null }[] = [];
  #count = 0;

  /** @param maxPoints most points of all lineages together; beyond it, the earliest are dropped */
  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>, maxPoints = MAX_POINTS) {
    this.#problem = problem;
    this.#settings = settings;
    this.#kernel = { linear: 0, smooth: 1 - settings.nugget, power: settings.power, nugget: settings.nugget };
    this.#dimension = dimension(problem.shape);
    this.#window = Math.max(MIN_WINDOW, Math.floor(maxPoints / settings.components));
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
  }

  /** No iteration crosses the end of the warm-up. */
  batchSize(): number {
    const end = this.#count < this.#warmUpEnd ? this.#warmUpEnd : this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, end - this.#count));
  }

  ask(count: number): Proposal[] {
    const scale = this.#rewardScale();
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
    this.#founders = selectElites(this.#founders, { elites: this.#settings.components, perFounder: 1 });
    this.#count += rewards.length;
    if (this.#count >= this.#warmUpEnd && this.#lineages.length === 0) {
      this.#lineages = this.#founders.map((founder) => {
        const lineage = new Lineage(this.#kernel, this.#window);
        lineage.add(founder);
        return lineage;
      });
    }
  }

  policy(): NoiseDistribution {
    const { shape } = this.#problem;
    if (this.#count === 0) return standardNormalDistribution(shape);
    const scale = this.#rewardScale();
    const anchors =
      this.#lineages.length > 0
        ? this.#lineages.map((lineage) => lineage.anchor(scale, this.#settings.trust))
        : this.#founders.map(({ noise }) => noise);
    return anchoredDistribution(shape, anchors, this.#settings.c);
  }

  summary(): { readonly [key: string]: unknown } {
    const scale = this.#rewardScale();
    return {
      lineages: this.#lineages.map((lineage) => ({
        founder: lineage.founder,
        draws: lineage.dropped + lineage.points.length,
        best: Math.max(...lineage.points.map(({ reward }) => reward)),
        expected: lineage.expected(scale),
      })),
    };
  }

  state(): OptimizerState {
    const founders = packElites(this.#founders, this.#dimension);
    const lineages = this.#lineages.map((lineage) => lineage.state(this.#dimension));
    const dropped = this.#lineages.map((lineage) => lineage.dropped);
    return {
      values: {
        count: this.#count,
        warmUpRewards: [...this.#warmUpRewards],
        founders: founders.values,
        lineages: lineages.map(({ values }) => values),
        ...(dropped.some((count) => count > 0) ? { dropped } : {}),
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
    const dropped = (values.dropped ?? []) as readonly number[];
    this.#lineages = (values.lineages as unknown[]).map((points, k) => {
      const noises = tensors[`lineage.${k}`];
      return Lineage.restore(points, noises, this.#dimension, this.#kernel, this.#window, dropped[k]);
    });
  }

  /** Mean and standard deviation of the rewards of N(0, I). */
  #rewardScale(): RewardScale {
    const rewards = this.#warmUpRewards;
    if (rewards.length < 2) return { mean: 0, deviation: 1 };
    return { mean: mean(rewards), deviation: sampleStandardDeviation(rewards) || 1 };
  }
}

/** Definition of `gp`, the default optimizer. */
export const gp: OptimizerDefinition = {
  name: 'gp',
  aliases: ['kriging'],
  title: 'Lineages climbed by Gaussian processes',
  source:
    'findery; Gaussian process regression as in Rasmussen and Williams 2006, ' +
    '"Gaussian Processes for Machine Learning", section 2.2',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new GaussianProcessSearch(problem, settings),
};
