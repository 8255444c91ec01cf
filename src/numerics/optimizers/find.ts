import { type NoiseKey, STREAMS } from '../../core/noise.ts';
import { gaussianDistribution } from '../distributions/gaussian.ts';
import { dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import { standardNormal } from '../normal.ts';
import { createMoments, FIND_ADAMW, type Moments, stepAdamW } from './adamw.ts';
import { CalibrationNetwork } from './calibration-network.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  OptimizerState,
  ParameterDescriptions,
  Proposal,
  SearchProblem,
  SettingsOf,
} from './optimizer.ts';
import { Sketch } from './sketch.ts';
import { type Rollout, standardizedSquares, surrogateGradient } from './surrogate.ts';

/** Lower bound of sigma, from the authors' code. */
const SMALLEST_STD = 1e-4;
/** Steps of the calibration network per iteration, from the authors' code. */
const CALIBRATION_STEPS = 5;
/** Numbers that the calibration network reads of mu, of sigma and of the prompt embedding. */
const SKETCH_SIZE = 32;
/**
 * AdamW stores squares of gradients as float32; its steps do not depend on the gradients' scale.
 */
const MAX_ABSOLUTE_GRADIENT = 1e15;

const PARAMETERS = {
  batchSize: {
    type: 'integer',
    default: 1,
    minimum: 1,
    maximum: 256,
    description: 'images per iteration',
  },
  learningRate: {
    type: 'number',
    default: 1e-3,
    minimum: 1e-6,
    maximum: 1,
    description: 'learning rate of AdamW for mu and sigma',
  },
  clip: {
    type: 'number',
    default: 0.2,
    minimum: 0.001,
    maximum: 1e6,
    description: 'epsilon that clips the ratio of each dimension; a very large one turns clipping off',
  },
  history: {
    type: 'integer',
    default: 10,
    minimum: 1,
    maximum: 100,
    description: 'number of latest iterations whose images are reused',
  },
  epochs: {
    type: 'integer',
    default: 1,
    minimum: 1,
    maximum: 100,
    description: 'steps on mu and sigma per iteration',
  },
  rewardWeight: {
    type: 'number',
    default: 10,
    minimum: 0,
    maximum: 1e6,
    description: 'weight of the reward against the regularization',
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
    description: 'subtract the prediction of the calibration network from the rewards',
  },
} as const satisfies ParameterDescriptions;

/**
 * FIND (Chen et al., ACM MM 2024), as its equations define it: policy gradient on a diagonal
 * Gaussian z = mu + sigma eps with calibrated rewards r* = f_r - Phi(mu, sigma, prompt) and PPO's
 * clipped surrogate over the latest noises:
 *
 *   loss = - rewardWeight * L_clip(r*) + regularization * mean(mu^2 + (sigma - 1)^2).
 *
 * This code differs from the authors' in four points (docs/method.md, section 2): reward i belongs
 * to noise i; the ratio is clipped per dimension, so the clip can bind (`surrogate.ts`); PPO's
 * minimum lets a clipped dimension return; and the sampler's eta is 0 unless a request sets it.
 * Without `calibration`, r* = f_r: the ablation of the paper.
 */
class Find implements Optimizer {
  readonly #problem: SearchProblem;
  readonly #settings: SettingsOf<typeof PARAMETERS>;
  readonly #dimension: number;
  /** mu, d numbers. */
  readonly #mean: Float32Array;
  /** sigma, d numbers. */
  readonly #std: Float32Array;
  readonly #moments: { mean: Moments; std: Moments };
  /** Of mu, of sigma and of the prompt embedding: together the input of Phi. */
  readonly #sketches: readonly Sketch[];
  readonly #phi: CalibrationNetwork | null;
  /** The latest `history` iterations. */
  #rollouts: Rollout[] = [];
  #asked: Proposal[] = [];
  #count = 0;
  /** Steps of AdamW on mu and sigma so far. */
  #step = 0;
  /** Share of clipped ratios in the last step, 0 to 1. */
  #clipped = 0;

  constructor(problem: SearchProblem, settings: SettingsOf<typeof PARAMETERS>) {
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
    const latents = (name: string) => {
      const found = tensors[name] as Float32Array | undefined;
      if (found?.length === this.#dimension) return found;
      throw new RangeError(`${name} has ${found?.length ?? 'no'} numbers instead of ${this.#dimension}.`);
    };
    this.#rollouts = (values.advantages as number[][]).map((advantages, i) =>
      withSquares({
        mean: latents(`rollout.${i}.mean`),
        std: latents(`rollout.${i}.std`),
        noises: advantages.map((_, j) => latents(`rollout.${i}.noise.${j}`)),
        advantages,
      }),
    );
  }

  /**
   * Predicts the expected reward of the current policy, then trains Phi on the rewards of its
   * noises.
   * @returns the prediction before the training; 0 without calibration
   */
  #calibrate(rewards: readonly number[]): number {
    if (!this.#phi) return 0;
    const parts = [this.#mean, this.#std, this.#problem.promptEmbedding];
    const input = Float32Array.from(parts.flatMap((part, i) => [...this.#sketches[i].of(part)]));
    const baseline = this.#phi.predict(input);
    this.#phi.train(input, rewards, CALIBRATION_STEPS);
    return baseline;
  }

  /** One step of AdamW on mu and sigma. */
  #improve(): void {
    const { learningRate, clip, rewardWeight, regularization } = this.#settings;
    const [mean, std] = [this.#mean, this.#std];
    const gradient = surrogateGradient(this.#rollouts, mean, std, clip);
    this.#clipped = gradient.clipped;
    const pull = (2 * regularization) / this.#dimension;
    // Turns the uphill gradient of the surrogate into the gradient of the loss, in place.
    for (let i = 0; i < mean.length; i++) {
      gradient.mean[i] = clampGradient(-rewardWeight * gradient.mean[i] + pull * mean[i]);
      gradient.std[i] = clampGradient(-rewardWeight * gradient.std[i] + pull * (std[i] - 1));
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

function clampGradient(gradient: number): number {
  return Math.max(-MAX_ABSOLUTE_GRADIENT, Math.min(MAX_ABSOLUTE_GRADIENT, gradient));
}

/** Definition of `find`. */
export const find: OptimizerDefinition = {
  name: 'find',
  title: 'FIND: policy gradient on a diagonal Gaussian',
  source:
    'Chen et al., "FIND: Fine-tuning Initial Noise Distribution with Policy Optimization for ' +
    'Diffusion Models", ACM MM 2024, arXiv 2407.19453',
  parameters: PARAMETERS,
  create: (problem, settings: SettingsOf<typeof PARAMETERS>) => new Find(problem, settings),
};
