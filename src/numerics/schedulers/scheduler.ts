/** A `scheduler_config.json` as read from the bundle: diffusers' keys and values. */
export type SchedulerConfig = { readonly [key: string]: unknown };

/**
 * A diffusion scheduler set to a number of steps, for ONE draw or many of equal length: `step` works elementwise.
 * State of multistep methods is kept inside, so an instance serves one denoising run.
 */
export interface Scheduler {
  /**
   * Timesteps in the order in which the model is asked, `length` = number of model evaluations. They may be fractional
   * (Euler between the trained noise levels) or repeat (PNDM).
   */
  readonly timesteps: readonly number[];
  /** What N(0, 1) is multiplied with to become the first latents. */
  readonly initNoiseSigma: number;
  /** Whether `step` needs fresh noise (eta > 0, ancestral and SDE forms). */
  readonly stochastic: boolean;
  /** What the model must be given at step i for these latents (themselves, but for the Euler methods). */
  scaleModelInput(latents: Float32Array, step: number): Float32Array;
  /**
   * x_{t-1} from the model's output at `timesteps[step]`; a new array. `noise` (standard normal, same length) must be
   * given exactly when `stochastic` is true; a last step that adds none (LCM, TCD) takes it and leaves it.
   */
  step(modelOutput: Float32Array, step: number, latents: Float32Array, noise?: Float32Array): Float32Array;
}

export interface SchedulerOptions {
  /** Number of inference steps, integer >= 1. */
  readonly steps: number;
  /** DDIM's eta, 0 (deterministic) to 1 (DDPM-like); schedulers that do not know eta ignore it. */
  readonly eta: number;
  /**
   * Numbers of one draw in the arrays given to `step`, for what is done draw by draw (dynamic thresholding). Left out:
   * the arrays are one draw.
   */
  readonly sampleLength?: number;
  /** Tokens that the model cuts the latents into, for flow-matching schedules that shift with the picture's size. */
  readonly imageSequenceLength?: number;
  /**
   * Where flow-match-euler's levels lie before they are shifted: evenly from 1 to 1 / steps (`unit`: the pipelines for
   * Flux, Qwen-Image and others) or between the first and the last trained one (`trained`: Stable Diffusion 3's). Left
   * out: `unit` for a config with use_dynamic_shifting or without a shift, `trained` for one with a fixed shift.
   */
  readonly flowSpacing?: 'unit' | 'trained';
}

/** A scheduler that users can name. */
export interface SchedulerDefinition {
  /** The name that users meet, such as `ddim` or `dpmsolver++`. */
  readonly name: string;
  /**
   * diffusers' class names that mean this scheduler, such as `DDIMScheduler`. None for variants that a class makes of
   * other options, such as `euler-karras`.
   */
  readonly classNames: readonly string[];
  /** What it is called elsewhere (A1111, ComfyUI, k-diffusion); case, spaces, `-` and `_` make no difference. */
  readonly aliases: readonly string[];
  readonly source: string;
  /** Whether `eta` means something to it. */
  readonly usesEta: boolean;
  /** Throws an Error with a clear message when the config asks for what is not there. */
  create(config: SchedulerConfig, options: SchedulerOptions): Scheduler;
}
