import { STREAMS } from '../../core/noise.ts';
import { dimension } from '../distributions/check.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import { sampleNoise } from '../distributions/sample.ts';
import { standardNormal } from '../normal.ts';
import { mean, standardError } from '../statistics.ts';
import { blend, chooseCentres, type Elite, onShell, packElites, unpackElites } from './elite.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

interface Settings {
  readonly batchSize: number;
  /** Components of the distribution. */
  readonly elites: number;
  /** Shares of the budget. */
  readonly warmUp: number;
  readonly heldOut: number;
  /** Most components from one founder. */
  readonly perFounder: number;
  readonly smallestC: number;
  readonly largestC: number;
}

/**
 * A variance-preserving mixture around elites (METHOD.md section 5). Three parts of the budget:
 *
 * 1. warm-up: draws from N(0, I), each the founder of a lineage;
 * 2. search: proposals z' = c z + sqrt(1 - c^2) eps around the best noises so far, which keeps |z'| where the model was
 *    trained. The centres are the global top-k, at most `perFounder` of one lineage: the first buys reward, the second keeps
 *    the pictures different. c follows success: wider while children beat their parents, closer when they do not;
 * 3. held-out: fresh draws from distributions of several widths around the final elites. They choose c, because an elite's own reward
 *    is the best of many and says too much of it (winner's curse).
 *
 * The distribution is sum_k w_k N(c z_k, (1 - c^2) I).
 */
class Elites implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #dimension: number;
  readonly #warmUpEnd: number;
  readonly #searchEnd: number;
  /** The best noises so far, best first: the centres of the distribution. */
  #archive: Elite[] = [];
  #count = 0;
  #c: number;
  #asked: { proposal: Proposal; parent: Elite | null; width: number }[] = [];
  /** Rewards of held-out draws by the index of their width. */
  #heldOut: number[][];

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
    const heldOut =
      Math.floor((settings.heldOut * problem.budget) / widths(settings).length) * widths(settings).length;
    this.#searchEnd = problem.budget - heldOut;
    this.#c = (settings.smallestC + settings.largestC) / 2;
    this.#heldOut = widths(settings).map(() => []);
  }

  /** Iterations end where a part of the budget ends. */
  batchSize(): number {
    const part = [this.#warmUpEnd, this.#searchEnd].find((end) => this.#count < end) ?? this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, part - this.#count));
  }

  ask(count: number): Proposal[] {
    const part =
      this.#count < this.#warmUpEnd ? 'warm-up' : this.#count < this.#searchEnd ? 'search' : 'held-out';
    this.#asked = Array.from({ length: count }, (_, i) => {
      const index = this.#count + i;
      if (part === 'held-out') return this.#proposeHeldOut(index);
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index };
      const eps = standardNormal(key, this.#dimension);
      if (part === 'warm-up') return { proposal: { key, values: eps }, parent: null, width: -1 };
      const parent = this.#archive[index % this.#archive.length];
      return { proposal: { key, values: blend(onShell(parent.noise), eps, this.#c) }, parent, width: -1 };
    });
    return this.#asked.map(({ proposal }) => proposal);
  }

  tell(rewards: readonly number[]): void {
    let successes = 0;
    let children = 0;
    for (const [i, reward] of rewards.entries()) {
      const { proposal, parent, width } = this.#asked[i];
      if (width >= 0) {
        this.#heldOut[width].push(reward);
        continue;
      }
      const { index } = proposal.key;
      this.#archive.push({ index, reward, founder: parent?.founder ?? index, noise: proposal.values });
      if (parent) {
        children++;
        if (reward > parent.reward) successes++;
      }
    }
    if (children > 0) this.#adapt(successes / children);
    this.#archive = chooseCentres(this.#archive, this.#settings);
    this.#count += rewards.length;
  }

  policy(): NoiseDistribution {
    if (this.#archive.length === 0) return standardNormalDistribution(this.#problem.shape);
    return this.#distribution(this.#finalC());
  }

  summary(): { readonly [key: string]: unknown } {
    return {
      c: this.#finalC(),
      elites: this.#archive.map(({ index, reward, founder }) => ({ index, reward, founder })),
      heldOut: widths(this.#settings).map((c, i) => ({
        c,
        draws: this.#heldOut[i].length,
        mean: this.#heldOut[i].length > 0 ? mean(this.#heldOut[i]) : null,
      })),
    };
  }

  state(): OptimizerState {
    const { values: archive, noises } = packElites(this.#archive, this.#dimension);
    return {
      values: {
        count: this.#count,
        c: this.#c,
        heldOut: this.#heldOut.map((rewards) => [...rewards]),
        archive,
      },
      tensors: { noises },
    };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#c = values.c as number;
    this.#heldOut = (values.heldOut as number[][]).map((rewards) => [...rewards]);
    this.#archive = unpackElites(values.archive, tensors.noises, this.#dimension);
  }

  /** One-fifth rule: the step sqrt(1 - c^2) grows while more than a fifth of the children beat their parents. */
  #adapt(successRate: number): void {
    const { smallestC, largestC } = this.#settings;
    const step = Math.sqrt(1 - this.#c ** 2) * Math.exp(0.5 * (successRate - 0.2));
    this.#c = Math.min(largestC, Math.max(smallestC, Math.sqrt(Math.max(0, 1 - step ** 2))));
  }

  #proposeHeldOut(index: number): { proposal: Proposal; parent: null; width: number } {
    const choices = widths(this.#settings);
    const position = index - this.#searchEnd;
    const width = position % choices.length;
    // Every width is tried on the same noises, so that luck is shared.
    const key = {
      seed: this.#problem.seed,
      stream: STREAMS.heldOut,
      index: Math.floor(position / choices.length),
    };
    return {
      proposal: { key, values: sampleNoise(this.#distribution(choices[width]), key) },
      parent: null,
      width,
    };
  }

  /**
   * The widest distribution that is as good as the best one, as far as its held-out draws can tell: within one standard error of
   * their paired difference (the one-standard-error rule). Width is what keeps pictures different; it is given up for reward
   * only where the reward shows.
   */
  #finalC(): number {
    const choices = widths(this.#settings);
    const complete = Math.min(...this.#heldOut.map((rewards) => rewards.length));
    if (complete === 0) return this.#c;
    const means = this.#heldOut.map(mean);
    const best = means.indexOf(Math.max(...means));
    const isAsGood = (rewards: readonly number[]) => {
      const losses = Array.from({ length: complete }, (_, i) => this.#heldOut[best][i] - rewards[i]);
      return complete < 2 ? rewards === this.#heldOut[best] : mean(losses) <= standardError(losses);
    };
    return choices[this.#heldOut.findIndex(isAsGood)];
  }

  #distribution(c: number): NoiseDistribution {
    return anchoredDistribution(
      this.#problem.shape,
      this.#archive.map(({ noise }) => onShell(noise)),
      c,
    );
  }
}

/** Candidates for the final c, from wide to narrow: half as wide again as the narrowest, and the narrowest. */
function widths({ smallestC, largestC }: Settings): number[] {
  const wider = Math.sqrt(Math.max(0, 1 - 1.5 ** 2 * (1 - largestC ** 2)));
  return [...new Set([Math.max(smallestC, wider), largestC])];
}

export const elites: OptimizerDefinition = {
  name: 'elites',
  title: 'Mixture of elites',
  source:
    'findery; niches and re-centring after CoSyNE and evolution strategies, widths after Jajal et al. 2025 (arXiv 2506.00299)',
  parameters: {
    batchSize: { type: 'integer', default: 10, minimum: 1, maximum: 256, description: 'draws an iteration' },
    elites: {
      type: 'integer',
      default: 5,
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
    heldOut: {
      type: 'number',
      default: 0.2,
      minimum: 0,
      maximum: 0.5,
      description: 'share of the budget by which the width of the distribution is chosen',
    },
    perFounder: {
      type: 'integer',
      default: 2,
      minimum: 1,
      maximum: 64,
      description:
        'most components that descend from one warm-up key: fewer keep the pictures more different',
    },
    smallestC: {
      type: 'number',
      default: 0.8,
      minimum: 0.1,
      maximum: 0.99,
      description: 'smallest cosine of a proposal to its centre',
    },
    largestC: {
      type: 'number',
      default: 0.98,
      minimum: 0.1,
      maximum: 0.99,
      description: 'largest cosine; above 0.98 a search attacks the reward instead of improving the picture',
    },
  },
  create(problem, parameters) {
    const settings = parameters as unknown as Settings;
    if (settings.smallestC > settings.largestC)
      throw new RangeError(
        `smallestC is ${settings.smallestC} and largestC ${settings.largestC}; smallestC has to be the smaller one.`,
      );
    return new Elites(problem, settings);
  },
};
