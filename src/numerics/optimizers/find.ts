import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { dimension } from '../distributions/check.ts';
import { gaussianDistribution } from '../distributions/gaussian.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import { createMoments, FIND_ADAMW, type Moments, stepAdamW } from './adamw.ts';
import { CalibrationNetwork } from './calibration-network.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';
import { Sketch } from './sketch.ts';
import { type Rollout, standardizedSquares, surrogateGradient } from './surrogate.ts';

const SMALLEST_STD = 1e-4;
const CALIBRATION_STEPS = 5;
const SKETCH_SIZE = 32;
const LARGEST_GRADIENT = 1e15;

interface Settings {
  readonly batchSize: number;
  readonly learningRate: number;
  readonly clip: number;
  /** Iterations whose draws are used again. */
  readonly history: number;
  /** Steps on (mu, sigma) an iteration. */
  readonly epochs: number;
  readonly rewardWeight: number;
  readonly regularization: number;
  /** false: r* = f_r, the paper's ablation. */
  readonly calibration: boolean;
}

/**
 * FIND (Chen et al., ACM MM 2024), as its equations say: a diagonal Gaussian z = mu + sigma eps, learned by policy gradient
 * on calibrated rewards r* = f_r - Phi(mu, sigma, prompt), with PPO's clipped surrogate over the latest draws.
 *
 *   loss = - rewardWeight * L_clip(r*) + regularization * mean(mu^2 + (sigma - 1)^2)
 *
 * Four faults of the authors' code are not here: reward i goes with noise i; the ratio can bind (`surrogate.ts` says what is
 * clipped); the minimum keeps the way back open; and eta, which is the sampler's, is 0 unless asked for.
 */
class Find implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: Settings;
  readonly #dimension: number;
  readonly #mean: Float32Array;
  readonly #std: Float32Array;
  readonly #moments: { mean: Moments; std: Moments };
  /** Of mu, sigma and the prompt embedding: what Phi reads. */
  readonly #sketches: readonly Sketch[];
  readonly #phi: CalibrationNetwork | null;
  #rollouts: Rollout[] = [];
  #asked: Proposal[] = [];
  #count = 0;
  #step = 0;
  #clipped = 0;

  constructor(problem: SearchProblem, settings: Settings) {
    this.#problem = problem;
    this.#settings = settings;
    this.#dimension = dimension(problem.shape);
    this.#mean = new Float32Array(this.#dimension);
    this.#std = new Float32Array(this.#dimension).fill(1);
    this.#moments = { mean: createMoments(this.#dimension), std: createMoments(this.#dimension) };
    this.#sketches = [this.#dimension, this.#dimension, problem.promptEmbedding.length].map(
      (length, index) => new Sketch(length, SKETCH_SIZE, problem.seed, index),
    );
    this.#phi = settings.calibration
      ? new CalibrationNetwork(
          this.#sketches.reduce((sum, { size }) => sum + size, 0),
          problem.seed,
        )
      : null;
  }

  batchSize(): number {
    return this.#settings.batchSize;
  }

  ask(count: number): Proposal[] {
    this.#asked = Array.from({ length: count }, (_, i) => {
      const key: NoiseKey = { seed: this.#problem.seed, stream: STREAMS.search, index: this.#count + i };
      const noise = standardNormal(key, this.#dimension);
      const [mean, std] = [this.#mean, this.#std];
      for (let j = 0; j < noise.length; j++) noise[j] = mean[j] + std[j] * noise[j];
      return { key, values: noise };
    });
    return this.#asked;
  }

  tell(rewards: readonly number[]): void {
    this.#count += rewards.length;
    const baseline = this.#calibrate(rewards);
    const rollout: Rollout = {
      mean: this.#mean.slice(),
      std: this.#std.slice(),
      noises: this.#asked.map(({ values: noise }) => noise),
      advantages: rewards.map((reward) => reward - baseline),
    };
    this.#rollouts = [...this.#rollouts, withSquares(rollout)].slice(-this.#settings.history);
    for (let epoch = 0; epoch < this.#settings.epochs; epoch++) this.#improve();
  }

  policy(): NoiseDistribution {
    return gaussianDistribution(this.#problem.shape, this.#mean.slice(), this.#std.slice());
  }

  summary(): { readonly [key: string]: unknown } {
    return { clippedShare: this.#clipped };
  }

  state(): OptimizerState {
    const phi = this.#phi?.state();
    const rollouts = this.#rollouts.flatMap(({ mean, std, noises }, i): [string, Float32Array][] => [
      [`rollout.${i}.mean`, mean],
      [`rollout.${i}.std`, std],
      ...noises.map((noise, j): [string, Float32Array] => [`rollout.${i}.noise.${j}`, noise]),
    ]);
    const { mean, std } = this.#moments;
    return {
      values: {
        count: this.#count,
        step: this.#step,
        clipped: this.#clipped,
        phiStep: phi?.step ?? 0,
        advantages: this.#rollouts.map(({ advantages }) => advantages),
      },
      tensors: {
        mean: this.#mean.slice(),
        std: this.#std.slice(),
        'mean.first': mean.first.slice(),
        'mean.second': mean.second.slice(),
        'std.first': std.first.slice(),
        'std.second': std.second.slice(),
        ...phi?.tensors,
        ...Object.fromEntries(rollouts),
      },
    };
  }

  restore({ values, tensors }: OptimizerState): void {
    this.#count = values.count as number;
    this.#step = values.step as number;
    this.#clipped = values.clipped as number;
    this.#mean.set(tensors.mean);
    this.#std.set(tensors.std);
    for (const name of ['mean', 'std'] as const) {
      this.#moments[name].first.set(tensors[`${name}.first`]);
      this.#moments[name].second.set(tensors[`${name}.second`]);
    }
    this.#phi?.restore(values.phiStep as number, tensors);
    const latent = (name: string) => {
      const found = tensors[name] as Float32Array | undefined;
      if (found?.length === this.#dimension) return found;
      throw new RangeError(`${name} has ${found?.length ?? 'no'} numbers instead of ${this.#dimension}.`);
    };
    this.#rollouts = (values.advantages as number[][]).map((advantages, i) =>
      withSquares({
        mean: latent(`rollout.${i}.mean`),
        std: latent(`rollout.${i}.std`),
        noises: advantages.map((_, j) => latent(`rollout.${i}.noise.${j}`)),
        advantages,
      }),
    );
  }

  /** Phi's prediction for the distribution that was asked, from before it learned of these rewards; 0 without calibration. */
  #calibrate(rewards: readonly number[]): number {
    if (!this.#phi) return 0;
    const parts = [this.#mean, this.#std, this.#problem.promptEmbedding];
    const input = Float32Array.from(parts.flatMap((part, i) => [...this.#sketches[i].of(part)]));
    const baseline = this.#phi.predict(input);
    this.#phi.train(input, rewards, CALIBRATION_STEPS);
    return baseline;
  }

  #improve(): void {
    const { learningRate, clip, rewardWeight, regularization } = this.#settings;
    const [mean, std] = [this.#mean, this.#std];
    const gradient = surrogateGradient(this.#rollouts, mean, std, clip);
    this.#clipped = gradient.clipped;
    const pull = (2 * regularization) / this.#dimension;
    // From uphill of the surrogate to downhill of the loss, in place.
    for (let i = 0; i < mean.length; i++) {
      gradient.mean[i] = bounded(-rewardWeight * gradient.mean[i] + pull * mean[i]);
      gradient.std[i] = bounded(-rewardWeight * gradient.std[i] + pull * (std[i] - 1));
    }
    this.#step++;
    const adamW = { ...FIND_ADAMW, learningRate };
    stepAdamW(mean, gradient.mean, this.#moments.mean, this.#step, adamW);
    stepAdamW(std, gradient.std, this.#moments.std, this.#step, adamW);
    for (let i = 0; i < std.length; i++) std[i] = Math.max(SMALLEST_STD, std[i]);
  }
}

function withSquares(rollout: Rollout): Rollout {
  return { ...rollout, squares: standardizedSquares(rollout) };
}

/** AdamW keeps squares of gradients as float32; its steps do not depend on their scale. */
function bounded(gradient: number): number {
  return Math.max(-LARGEST_GRADIENT, Math.min(LARGEST_GRADIENT, gradient));
}

export const find: OptimizerDefinition = {
  name: 'find',
  title: 'FIND: policy gradient on a diagonal Gaussian',
  source:
    'Chen et al., "FIND: Fine-tuning Initial Noise Distribution with Policy Optimization for Diffusion Models", ACM MM 2024, arXiv 2407.19453',
  parameters: {
    batchSize: { type: 'integer', default: 1, minimum: 1, maximum: 256, description: 'draws an iteration' },
    learningRate: {
      type: 'number',
      default: 1e-3,
      minimum: 1e-6,
      maximum: 1,
      description: "AdamW's, of mu and sigma",
    },
    clip: {
      type: 'number',
      default: 0.2,
      minimum: 0.001,
      maximum: 1e6,
      description: 'epsilon of the ratio of each dimension; a huge one turns clipping off',
    },
    history: {
      type: 'integer',
      default: 10,
      minimum: 1,
      maximum: 100,
      description: 'iterations whose draws are used again',
    },
    epochs: {
      type: 'integer',
      default: 1,
      minimum: 1,
      maximum: 100,
      description: 'steps on mu and sigma an iteration',
    },
    rewardWeight: {
      type: 'number',
      default: 10,
      minimum: 0,
      maximum: 1e6,
      description: 'weight of the reward against the regulariser',
    },
    regularization: {
      type: 'number',
      default: 0.01,
      minimum: 0,
      maximum: 1e6,
      description: 'weight of mean(mu^2 + (sigma - 1)^2)',
    },
    calibration: {
      type: 'boolean',
      default: true,
      description: 'train on rewards less their prediction by the calibration network',
    },
  },
  create: (problem, parameters) => new Find(problem, parameters as unknown as Settings),
};
