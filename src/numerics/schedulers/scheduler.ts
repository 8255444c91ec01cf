/** A `scheduler_config.json` as in a model's folder: diffusers' keys and values. */
export type SchedulerConfig = { readonly [key: string]: unknown };

/**
 * A diffusion scheduler for a fixed number of steps. `step` works elementwise, so its arrays hold
 * one sample or a batch of samples of equal length. Multistep methods store outputs of earlier
 * steps, so an instance serves one denoising run.
 */
export interface Scheduler {
  /**
   * The timesteps of the model's evaluations, in order; their number is the number of evaluations.
   * A timestep can be fractional (Euler between trained noise levels) or repeat (PNDM).
   */
  readonly timesteps: readonly number[];
  /** Factor that turns N(0, 1) noise into the first latents; diffusers' `init_noise_sigma`. */
  readonly initNoiseSigma: number;
  /** Whether `step` needs new noise (eta > 0, ancestral and SDE methods). */
  readonly stochastic: boolean;
  /**
   * The model's input at step i for these latents; the latents themselves except in Euler's
   * methods.
   *
   * @param into array for the result if that is not `latents`; a new one by default
   */
  scaleModelInput(latents: Float32Array, step: number, into?: Float32Array): Float32Array;
  /**
   * One denoising step: x_{t-1}.
   *
   * @param modelOutput the model's output at `timesteps[step]`, as long as the latents
   * @param step index into `timesteps`: of an evaluation, of which a method can have several a step
   * @param latents x_t
   * @param noise N(0, 1) numbers, as many as latents, if and only if `stochastic` is true; a last
   *   step that adds no noise (LCM, TCD) ignores them
   * @param into array for the result, as long as the latents and none of the other arguments; a new
   *   one by default
   * @returns `into`
   * @throws RangeError for arguments that do not fit
   */
  step(
    modelOutput: Float32Array,
    step: number,
    latents: Float32Array,
    noise?: Float32Array,
    into?: Float32Array,
  ): Float32Array;
}

/** Settings of a denoising run. */
export interface SchedulerOptions {
  /** Number of inference steps, an integer >= 1. */
  readonly steps: number;
  /** DDIM's eta, 0 (deterministic) to 1 (as DDPM); schedulers without `usesEta` ignore it. */
  readonly eta: number;
  /**
   * Numbers of one sample of a batch, for operations on whole samples (dynamic thresholding).
   * Without it, the arrays given to `step` hold one sample.
   */
  readonly sampleLength?: number;
  /**
   * Number of tokens of the latents, for flow-matching schedules that depend on the picture's size.
   */
  readonly imageSequenceLength?: number;
  /**
   * Spacing of flow-match-euler's noise levels before they are shifted: evenly from 1 to 1 / steps
   * (`unit`, as the pipelines for Flux and Qwen-Image), or between the first and the last trained
   * level (`trained`, as Stable Diffusion 3). The default is `trained` for a config with a fixed
   * shift, else `unit`.
   */
  readonly flowSpacing?: 'unit' | 'trained';
}

/** A scheduler that users can name. */
export interface SchedulerDefinition {
  /** The name in requests and records, such as `ddim` or `dpmsolver++`. */
  readonly name: string;
  /**
   * Class names of diffusers that mean this scheduler, such as `DDIMScheduler`. Empty for variants
   * that diffusers makes of a class by options, such as `euler-karras`.
   */
  readonly classNames: readonly string[];
  /** Names elsewhere (A1111, ComfyUI, k-diffusion); case, spaces, `-` and `_` are ignored. */
  readonly aliases: readonly string[];
  /** The publication that the method comes from. */
  readonly source: string;
  /** Whether `eta` has an effect. */
  readonly usesEta: boolean;
  /** @throws Error that names the option, if the config asks for one that is not supported */
  create(config: SchedulerConfig, options: SchedulerOptions): Scheduler;
}
