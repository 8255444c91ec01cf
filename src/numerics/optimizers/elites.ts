import { STREAMS } from '../../core/noise.ts';
import { standardNormalDistribution } from '../distributions/gaussian.ts';
import { anchoredDistribution } from '../distributions/mixture.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { sampleNoise } from '../distributions/sample.ts';
import { standardNormal } from '../normal.ts';
import { mean, standardError } from '../statistics.ts';
import { blend, type Elite, packElites, projectToShell, selectElites, unpackElites } from './elite.ts';
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
    description: 'images per iteration',
  },
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
    description: 'share of the budget that is sampled from N(0, I)',
  },
  heldOut: {
    type: 'number',
    default: 0.2,
    minimum: 0,
    maximum: 0.5,
    description: 'share of the budget that selects the width of the distribution',
  },
  perFounder: {
    type: 'integer',
    default: 2,
    minimum: 1,
    maximum: 64,
    description:
      'maximum number of components that descend from one warm-up noise; ' +
      'fewer keep the pictures more different',
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
} as const satisfies ParameterDescriptions;

type Settings = SettingsOf<typeof PARAMETERS>;

/** A proposal with what `tell` has to know about it. */
interface Asked {
  readonly proposal: Proposal;
  /** The elite that it descends from; null for warm-up and held-out noises. */
  readonly parent: Elite | null;
  /** Index of the width that a held-out noise tests; null for all others. */
  readonly width: number | null;
}

/**
 * A variance-preserving mixture around elites (docs/method.md, section 5). The budget has three
 * parts:
 *
 * 1. Warm-up: noises from N(0, I), each the founder of a lineage.
 * 2. Search: proposals z' = c z + sqrt(1 - c^2) eps around the best noises so far, which keep the
 *    norm that the model was trained on. The elites are the global top-k, which buys reward, with
 *    at most `perFounder` of one lineage, which keeps the pictures different. c adapts to success:
 *    it falls (wider proposals) while children beat their parents and rises otherwise.
 * 3. Held-out: new samples from distributions of several widths around the final elites select the
 *    final c. The elites' own rewards cannot: each is the best of many, hence too high (winner's
 *    curse).
 *
 * The learned distribution is sum_k w_k N(c z_k, (1 - c^2) I) with equal weights w_k.
 */
class Elites implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #dimension: number;
  /** Number of images after which the warm-up ends. */
  readonly #warmUpEnd: number;
  /** Number of images after which the search ends and the held-out part begins. */
  readonly #searchEnd: number;
  /** The best noises so far, best first. */
  #archive: Elite[] = [];
  #count = 0;
  #c: number;
  #asked: Asked[] = [];
  /** Rewards of the held-out noises, by the index of their width. */
  #heldOut: number[][];

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#warmUpEnd = Math.max(1, Math.round(settings.warmUp * problem.budget));
    const heldOut =
      Math.floor((settings.heldOut * problem.budget) / candidateWidths(settings).length) *
      candidateWidths(settings).length;
    this.#searchEnd = problem.budget - heldOut;
    this.#c = (settings.smallestC + settings.largestC) / 2;
    this.#heldOut = candidateWidths(settings).map(() => []);
  }

  /** No iteration crosses the end of a part of the budget. */
  batchSize(): number {
    const end = [this.#warmUpEnd, this.#searchEnd].find((end) => this.#count < end) ?? this.#problem.budget;
    return Math.max(1, Math.min(this.#settings.batchSize, end - this.#count));
  }

  ask(count: number): Proposal[] {
    const part =
      this.#count < this.#warmUpEnd ? 'warm-up' : this.#count < this.#searchEnd ? 'search' : 'held-out';
    this.#asked = Array.from({ length: count }, (_, i): Asked => {
      const index = this.#count + i;
      if (part === 'held-out') return this.#proposeHeldOut(index);
      const key = { seed: this.#problem.seed, stream: STREAMS.search, index };
      const eps = standardNormal(key, this.#dimension);
      if (part === 'warm-up') return { proposal: { key, values: eps }, parent: null, width: null };
      const parent = this.#archive[index % this.#archive.length];
      const noise = blend(projectToShell(parent.noise), eps, this.#c);
      return { proposal: { key, values: noise }, parent, width: null };
    });
    return this.#asked.map(({ proposal }) => proposal);
  }

  tell(rewards: readonly number[]): void {
    let successes = 0;
    let children = 0;
    for (const [i, reward] of rewards.entries()) {
      const { proposal, parent, width } = this.#asked[i];
      if (width !== null) {
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
    this.#archive = selectElites(this.#archive, this.#settings);
    this.#count += rewards.length;
  }

  policy(): NoiseDistribution {
    if (this.#archive.length === 0) return standardNormalDistribution(this.#problem.shape);
    return this.#distribution(this.#selectC());
  }

  summary(): { readonly [key: string]: unknown } {
    return {
      c: this.#selectC(),
      elites: this.#archive.map(({ index, reward, founder }) => ({ index, reward, founder })),
      heldOut: candidateWidths(this.#settings).map((c, i) => ({
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

  /**
   * The one-fifth success rule (Rechenberg 1973): the step length sqrt(1 - c^2) grows while more
   * than a fifth of the children beat their parents.
   */
  #adapt(successRate: number): void {
    const { smallestC, largestC } = this.#settings;
    const step = Math.sqrt(1 - this.#c ** 2) * Math.exp(0.5 * (successRate - 0.2));
    this.#c = Math.min(largestC, Math.max(smallestC, Math.sqrt(Math.max(0, 1 - step ** 2))));
  }

  #proposeHeldOut(index: number): Asked {
    const widths = candidateWidths(this.#settings);
    const position = index - this.#searchEnd;
    const width = position % widths.length;
    // All widths share their noise keys, so that luck does not decide between them.
    const key = {
      seed: this.#problem.seed,
      stream: STREAMS.heldOut,
      index: Math.floor(position / widths.length),
    };
    const noise = sampleNoise(this.#distribution(widths[width]), key);
    return { proposal: { key, values: noise }, parent: null, width };
  }

  /**
   * Selects the widest distribution whose held-out samples are as good as those of the best width,
   * up to one standard error of their paired differences (the one-standard-error rule). Width keeps
   * the pictures different, so it is given up only for a visible gain in reward.
   */
  #selectC(): number {
    const widths = candidateWidths(this.#settings);
    const pairs = Math.min(...this.#heldOut.map((rewards) => rewards.length));
    if (pairs === 0) return this.#c;
    const means = this.#heldOut.map(mean);
    const best = means.indexOf(Math.max(...means));
    const isAsGood = (rewards: readonly number[]) => {
      const losses = Array.from({ length: pairs }, (_, i) => this.#heldOut[best][i] - rewards[i]);
      return pairs < 2 ? rewards === this.#heldOut[best] : mean(losses) <= standardError(losses);
    };
    return widths[this.#heldOut.findIndex(isAsGood)];
  }

  #distribution(c: number): NoiseDistribution {
    return anchoredDistribution(
      this.#problem.shape,
      this.#archive.map(({ noise }) => projectToShell(noise)),
      c,
    );
  }
}

/**
 * Candidates for the final c, wide before narrow: 1.5 times the narrowest sqrt(1 - c^2), and the
 * narrowest.
 */
function candidateWidths({ smallestC, largestC }: Settings): number[] {
  const wider = Math.sqrt(Math.max(0, 1 - 1.5 ** 2 * (1 - largestC ** 2)));
  return [...new Set([Math.max(smallestC, wider), largestC])];
}

/** Definition of `elites`. */
export const elites: OptimizerDefinition = {
  name: 'elites',
  title: 'Mixture of elites',
  source:
    'findery; niches and re-centring after CoSyNE and evolution strategies, ' +
    'widths after Jajal et al. 2025 (arXiv 2506.00299)',
  parameters: PARAMETERS,
  create(problem, settings: Settings) {
    if (settings.smallestC > settings.largestC)
      throw new RangeError(
        `smallestC is ${settings.smallestC} and largestC ${settings.largestC}; ` +
          'smallestC must not be larger than largestC.',
      );
    return new Elites(problem, settings);
  },
};
