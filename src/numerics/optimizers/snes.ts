import { STREAMS } from '../../core/noise.ts';
import { gaussianDistribution } from '../distributions/gaussian.ts';
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
    default: 15,
    minimum: 1,
    maximum: 256,
    description: 'images per generation',
  },
  meanRate: {
    type: 'number',
    default: 1,
    minimum: 1e-6,
    maximum: 2,
    description: 'learning rate of the mean',
  },
  stdRate: {
    type: 'number',
    default: 1,
    minimum: 0,
    maximum: 10,
    description: 'learning rate of sigma, in units of (3 + ln d) / (5 sqrt(d))',
  },
} as const satisfies ParameterDescriptions;

/**
 * Separable natural evolution strategy (Schaul, Glasmachers and Schmidhuber 2011, algorithm 2). It
 * moves FIND's policy, a diagonal Gaussian that starts at N(0, I), along the natural gradient of
 * the expected utility. The utility of a noise depends on the RANK of its reward only:
 *
 *   mu += eta_mu sigma sum_i u_i s_i,
 *   sigma *= exp(eta_sigma / 2 sum_i u_i (s_i^2 - 1)),   s_i = (z_i - mu) / sigma.
 *
 * The mean may leave the origin, so samples grow longer than the noises that the model was trained
 * on; the report shows this as `meanNorm`.
 */
class Snes implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  readonly #dimension: number;
  /** mu, d numbers. */
  readonly #mean: Float32Array;
  /** sigma, d numbers. */
  readonly #std: Float32Array;
  /** s_i of the last proposals. */
  #asked: Float32Array[] = [];
  #count = 0;

  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#mean = new Float32Array(this.#dimension);
    this.#std = new Float32Array(this.#dimension).fill(1);
  }

  batchSize(): number {
    return this.#settings.batchSize;
  }

  ask(count: number): Proposal[] {
    const keys = Array.from({ length: count }, (_, i) => ({
      seed: this.#problem.seed,
      stream: STREAMS.search,
      index: this.#count + i,
    }));
    this.#asked = keys.map((key) => standardNormal(key, this.#dimension));
    return keys.map((key, i) => ({
      key,
      values: this.#asked[i].map((s, j) => this.#mean[j] + this.#std[j] * s),
    }));
  }

  tell(rewards: readonly number[]): void {
    const utilities = rankUtilities(rewards);
    const { meanRate, stdRate } = this.#settings;
    const d = this.#dimension;
    // eta_sigma / 2
    const halfStdRate = (stdRate * (3 + Math.log(d))) / (10 * Math.sqrt(d));
    for (let j = 0; j < d; j++) {
      let meanGradient = 0;
      let stdGradient = 0;
      for (let i = 0; i < utilities.length; i++) {
        const s = this.#asked[i][j];
        meanGradient += utilities[i] * s;
        stdGradient += utilities[i] * (s * s - 1);
      }
      this.#mean[j] += meanRate * this.#std[j] * meanGradient;
      this.#std[j] *= Math.exp(halfStdRate * stdGradient);
    }
    this.#count += rewards.length;
  }

  policy(): NoiseDistribution {
    return gaussianDistribution(this.#problem.shape, this.#mean, this.#std);
  }

  summary(): { readonly [key: string]: unknown } {
    return { generations: Math.ceil(this.#count / this.#settings.batchSize) };
  }

  state(): OptimizerState {
    return { values: { count: this.#count }, tensors: { mean: this.#mean.slice(), std: this.#std.slice() } };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#mean.set(tensors.mean);
    this.#std.set(tensors.std);
  }
}

/**
 * The utilities u_i = max(0, ln(n / 2 + 1) - ln(rank_i)), divided by their sum, less 1 / n. Equal
 * rewards share the mean of their utilities, so constant rewards move nothing.
 *
 * @returns n numbers whose sum is 0, in the order of the rewards
 */
export function rankUtilities(rewards: readonly number[]): number[] {
  const count = rewards.length;
  const raw = rewards.map((_, rank) => Math.max(0, Math.log(count / 2 + 1) - Math.log(rank + 1)));
  const total = raw.reduce((sum, value) => sum + value, 0);
  const order = rewards.map((_, i) => i).sort((a, b) => rewards[b] - rewards[a]);
  const utilities = new Array<number>(count).fill(0);
  for (let first = 0; first < count; ) {
    let end = first + 1;
    while (end < count && rewards[order[end]] === rewards[order[first]]) end++;
    const shared =
      raw.slice(first, end).reduce((sum, value) => sum + value, 0) / (end - first) / total - 1 / count;
    for (let place = first; place < end; place++) utilities[order[place]] = shared;
    first = end;
  }
  return utilities;
}

/** Definition of `snes`. */
export const snes: OptimizerDefinition = {
  name: 'snes',
  title: 'SNES: separable natural evolution strategy',
  source:
    'Schaul, Glasmachers and Schmidhuber 2011, ' +
    '"High dimensions and heavy tails for natural evolution strategies" (GECCO), algorithm 2',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new Snes(problem, settings),
};
