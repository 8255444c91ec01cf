/** A `scheduler_config.json` as read from the bundle: diffusers' keys and values. */
export type SchedulerConfig = { readonly [key: string]: unknown };

/**
 * A diffusion scheduler set to a number of steps, for ONE draw or many of equal length: `step` works elementwise.
 * State of multistep methods is kept inside, so an instance serves one denoising run.
 */
export interface Scheduler {
  /** Timesteps in the order in which the model is asked, `length` = number of model evaluations. They may have fractions. */
  readonly timesteps: readonly number[];
  /** What N(0, 1) is multiplied with to become the first latents. */
  readonly initNoiseSigma: number;
  /** Whether `step` needs fresh noise (eta > 0, ancestral and SDE forms). */
  readonly stochastic: boolean;
  /** What the model must be given at step i for these latents: for most, the latents themselves. */
  scaleModelInput(latents: Float32Array, step: number): Float32Array;
  /**
   * x_{t-1} from the model's output at `timesteps[step]`; a new array. `noise` (standard normal, same length) must be
   * given exactly when `stochastic` is true; where a scheduler has no use for it at its last step, it is ignored.
   */
  step(modelOutput: Float32Array, step: number, latents: Float32Array, noise?: Float32Array): Float32Array;
}

export interface SchedulerOptions {
  /** Number of inference steps, integer >= 1. */
  readonly steps: number;
  /** DDIM's eta, 0 (deterministic) to 1 (DDPM-like), and TCD's gamma; schedulers that do not know eta ignore it. */
  readonly eta: number;
  /** Numbers of one draw in the arrays that `step` gets, for what is done draw by draw (dynamic thresholding). Left out: all of them. */
  readonly sampleLength?: number;
  /** Tokens of a picture, by which flow-matching schedules shift their noise levels. */
  readonly imageSequenceLength?: number;
  /** Noise levels that the pipeline asks for, before any shift; left out: the scheduler's own. */
  readonly sigmas?: readonly number[];
}

/** A scheduler that users can name. */
export interface SchedulerDefinition {
  /** The name that users meet, such as `ddim` or `dpmsolver++`. */
  readonly name: string;
  /** diffusers' class names that mean this scheduler, such as `DDIMScheduler`. */
  readonly classNames: readonly string[];
  /** What other programs call it, such as "Euler a"; matched without regard to case, spaces, "-" and "_". */
  readonly aliases: readonly string[];
  readonly source: string;
  /** Whether a scheduler_config.json of one of these classes means this scheduler; left out: every one does. */
  isMeantBy?(config: SchedulerConfig): boolean;
  /** Whether `eta` means something to it. */
  readonly usesEta: boolean;
  /** Throws an Error with a clear message when the config asks for what is not there. */
  create(config: SchedulerConfig, options: SchedulerOptions): Scheduler;
}
