import { schedulerOptions } from '../bundles/model-sampler.ts';
import type { Noise } from '../core/noise.ts';
import { standardNormal, stepNoiseLane } from '../numerics/normal.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { Scheduler } from '../numerics/schedulers/scheduler.ts';
import type { RowValues } from './denoiser.ts';
import type { GenerationSpec } from './generation-spec.ts';

/**
 * The N(0, 1) noise, `length` numbers, that a stochastic scheduler adds to one latent at one step.
 */
export type StepNoise = (key: Noise['key'], step: number, length: number) => Float32Array;

const stepNoiseOf: StepNoise = (key, step, length) => standardNormal(key, length, stepNoiseLane(step));

/**
 * Latents of one request that are denoised in lockstep, with the state of their scheduler. All
 * randomness of a noise comes from its own key, so its latent does not depend on the others.
 */
export class DenoisingGroup {
  /** Number of latents. */
  readonly count: number;
  readonly #keys: readonly Noise['key'][];
  readonly #stepNoise: StepNoise;
  readonly #scheduler: Scheduler;
  /** Numbers of one latent. */
  readonly #length: number;
  // The steps share these arrays, [count, ...latentShape].
  readonly #input: Float32Array;
  readonly #prediction: Float32Array;
  readonly #noise: Float32Array | undefined;
  #latents: Float32Array;
  /** The latents as the model's input at this step. */
  #scaled: Float32Array;
  #next: Float32Array;
  #step = 0;

  /** @param stepNoise replaced in tests only */
  constructor(spec: GenerationSpec, noises: readonly Noise[], stepNoise = stepNoiseOf) {
    const { model, sampler, latentShape } = spec;
    const length = latentShape.reduce((product, size) => product * size, 1);
    const options = schedulerOptions(model, sampler, latentShape);
    this.count = noises.length;
    this.#keys = noises.map(({ key }) => key);
    this.#stepNoise = stepNoise;
    this.#scheduler = findScheduler(sampler.scheduler).create(model.schedulerConfig, options);
    this.#length = length;
    const size = this.count * length;
    this.#input = new Float32Array(size);
    this.#prediction = new Float32Array(size);
    this.#noise = this.#scheduler.stochastic ? new Float32Array(size) : undefined;
    this.#next = new Float32Array(size);
    this.#latents = new Float32Array(size);
    for (const [i, { key, values }] of noises.entries())
      this.#latents.set(values ?? standardNormal(key, length), i * length);
    for (let i = 0; i < size; i++) this.#latents[i] *= this.#scheduler.initNoiseSigma;
    this.#scaled = this.#scheduler.scaleModelInput(this.#latents, 0, this.#input);
  }

  /** Steps that are left. */
  get stepsLeft(): number {
    return this.#scheduler.timesteps.length - this.#step;
  }

  /** The latents, [count, ...latentShape]; once no step is left, the result. */
  get latents(): Float32Array {
    return this.#latents;
  }

  /** What the denoiser needs for `count` latents from `first` on, and where it writes to. */
  valuesAt(first: number, count: number): RowValues {
    const [start, end] = [first * this.#length, (first + count) * this.#length];
    return {
      latents: this.#scaled.subarray(start, end),
      timestep: this.#scheduler.timesteps[this.#step],
      prediction: this.#prediction.subarray(start, end),
    };
  }

  /** Takes one step, with the predictions that were written to `valuesAt`. */
  advance(): void {
    const [step, latents, noise] = [this.#step, this.#latents, this.#noise];
    for (const [i, key] of this.#keys.entries())
      noise?.set(this.#stepNoise(key, step, this.#length), i * this.#length);
    this.#latents = this.#scheduler.step(this.#prediction, step, latents, noise, this.#next);
    this.#next = latents;
    this.#step++;
    if (this.stepsLeft > 0)
      this.#scaled = this.#scheduler.scaleModelInput(this.#latents, this.#step, this.#input);
  }
}
