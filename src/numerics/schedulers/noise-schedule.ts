import type { ConfigReader } from './config.ts';

const BETA_SCHEDULES = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;

/**
 * The forward process of a variance-preserving model:
 * x_t = sqrt(alphasCumprod[t]) x_0 + sqrt(1 - alphasCumprod[t]) eps.
 */
export interface NoiseSchedule {
  readonly numTrainTimesteps: number;
  /** Whether `beta_schedule` is the cosine schedule. */
  readonly usesCosine: boolean;
  readonly rescaleBetasZeroSnr: boolean;
  /** Product of (1 - beta) up to t: `numTrainTimesteps` numbers that fall with t. */
  readonly alphasCumprod: Float32Array;
}

/** The defaults by which classes of diffusers differ. */
export interface NoiseScheduleDefaults {
  readonly betaSchedule: (typeof BETA_SCHEDULES)[number];
  readonly betaStart: number;
  readonly betaEnd: number;
  /** Whether the class has the option `rescale_betas_zero_snr`; if not, the key is ignored. */
  readonly hasZeroSnr: boolean;
}

const COMMON_DEFAULTS: NoiseScheduleDefaults = {
  betaSchedule: 'linear',
  betaStart: 0.0001,
  betaEnd: 0.02,
  hasZeroSnr: true,
};

/**
 * Reads the noise schedule of a config: `num_train_timesteps`, `beta_*`, `trained_betas` and
 * `rescale_betas_zero_snr`.
 *
 * Values are rounded to float32 wherever diffusers rounds. 1 - alphasCumprod[0] is about 1e-3, so
 * the rounding moves the last noise levels by parts in 10^4, and pictures should agree with those
 * of diffusers.
 *
 * @throws Error for values out of range, or `trained_betas` of another length
 */
export function readNoiseSchedule(
  config: ConfigReader,
  defaults: Partial<NoiseScheduleDefaults> = {},
): NoiseSchedule {
  const { betaSchedule, betaStart, betaEnd, hasZeroSnr } = { ...COMMON_DEFAULTS, ...defaults };
  const numTrainTimesteps = config.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const schedule = config.choice('beta_schedule', betaSchedule, BETA_SCHEDULES);
  const start = config.number('beta_start', betaStart, 0, 1);
  const end = config.number('beta_end', betaEnd, 0, 1);
  const trainedBetas = config.fractionsOrNull('trained_betas');
  if (trainedBetas !== null && trainedBetas.length !== numTrainTimesteps) {
    throw new Error(
      `trained_betas of the scheduler config has ${trainedBetas.length} numbers; ` +
        `it needs num_train_timesteps = ${numTrainTimesteps}.`,
    );
  }
  const betas =
    trainedBetas === null
      ? computeBetas(schedule, start, end, numTrainTimesteps)
      : Float32Array.from(trainedBetas);
  const rescaleBetasZeroSnr = hasZeroSnr && config.boolean('rescale_betas_zero_snr', false);
  const alphas = rescaleBetasZeroSnr ? rescaleToZeroSnr(betas) : betas.map((beta) => 1 - beta);
  return {
    numTrainTimesteps,
    usesCosine: schedule === 'squaredcos_cap_v2',
    rescaleBetasZeroSnr,
    alphasCumprod: cumulativeProduct(alphas),
  };
}

/**
 * The noise levels of the trained timesteps as Karras et al. 2022 define them:
 * sigma = sqrt((1 - a) / a), as many numbers as timesteps, rising. A zero terminal SNR gives an
 * infinite level, which cannot be integrated; 2^12 replaces it, because diffusers replaces a signal
 * of 0 by 2^-24.
 */
export function trainedSigmas({ rescaleBetasZeroSnr, alphasCumprod }: NoiseSchedule): Float32Array {
  const sigmas = alphasCumprod.map((alpha) => Math.sqrt((1 - alpha) / alpha));
  // Set rather than computed: the root of 2^24 - 1 lies next to half a float32, and torch rounds it
  // up.
  if (rescaleBetasZeroSnr) sigmas[sigmas.length - 1] = 2 ** 12;
  return sigmas;
}

/**
 * Checks that a step is possible from every timestep.
 *
 * @param needsSignal whether the method divides by the signal: if the model predicts epsilon, and
 *   in PNDM
 * @throws Error for a timestep without noise, or without signal where the method needs it
 */
export function checkNoiseLevels(
  timesteps: readonly number[],
  alphasCumprod: Float32Array,
  needsSignal: boolean,
): void {
  for (const timestep of timesteps) {
    const alpha = alphasCumprod[timestep];
    if (alpha === 0 && needsSignal) {
      throw new Error(
        `Timestep ${timestep} has no signal: rescale_betas_zero_snr or a beta of 1 in trained_betas makes ` +
          'it pure noise. Schedulers with prediction_type epsilon and PNDM cannot start there; such models ' +
          'predict v_prediction or sample.',
      );
    }
    if (alpha === 1) {
      throw new Error(
        `Timestep ${timestep} has no noise, so no step can start from it: beta_start or trained_betas of ` +
          'the scheduler config begin with 0. Set them as the model was trained, or set a larger ' +
          'steps_offset.',
      );
    }
  }
}

function computeBetas(
  schedule: (typeof BETA_SCHEDULES)[number],
  start: number,
  end: number,
  count: number,
): Float32Array {
  switch (schedule) {
    case 'linear':
      return linspaceFloat32(start, end, count);
    case 'scaled_linear':
      // Latent Diffusion's schedule is linear in sqrt(beta).
      return linspaceFloat32(Math.sqrt(start), Math.sqrt(end), count).map((root) => root * root);
    case 'squaredcos_cap_v2': {
      // Nichol and Dhariwal 2021, equation 17; betas are at most 0.999.
      const alphaBar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: count }, (_, i) =>
        Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999),
      );
    }
  }
}

/** torch.linspace in float32 to the last bit: it rounds the step and counts from the nearer end. */
function linspaceFloat32(start: number, end: number, count: number): Float32Array {
  const [from, to] = [Math.fround(start), Math.fround(end)];
  if (count === 1) return Float32Array.of(from);
  const step = Math.fround(Math.fround(to - from) / (count - 1));
  const half = Math.floor(count / 2);
  return Float32Array.from({ length: count }, (_, i) =>
    i < half ? from + step * i : to - step * (count - 1 - i),
  );
}

/**
 * Alphas that make the last timestep pure noise: Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
 */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const first = roots[0];
  const last = roots[roots.length - 1];
  const scale = Math.fround(first / Math.fround(first - last));
  const alphaBars = roots.map((root) => Math.fround(Math.fround(root - last) * scale) ** 2);
  // diffusers converts to float32 betas, 1 - alpha, and back.
  return alphaBars.map(
    (alphaBar, t) => 1 - Math.fround(1 - (t === 0 ? alphaBar : Math.fround(alphaBar / alphaBars[t - 1]))),
  );
}

function cumulativeProduct(factors: Float32Array): Float32Array {
  let product = 1;
  return factors.map((factor) => {
    product *= factor;
    return product;
  });
}
