import type { ConfigReader } from './config.ts';

const BETA_SCHEDULES = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;

/** The forward process of a variance-preserving model: x_t = sqrt(alphasCumprod[t]) x_0 + sqrt(1 - alphasCumprod[t]) eps. */
export interface NoiseSchedule {
  readonly trainTimesteps: number;
  readonly usesCosine: boolean;
  readonly rescalesToZeroSnr: boolean;
  /** Product of (1 - beta) up to t, `trainTimesteps` numbers that fall with t. */
  readonly alphasCumprod: Float32Array;
}

/** What a class of diffusers takes where the config says nothing, or whatever it says. */
export interface NoiseScheduleDefaults {
  readonly schedule: (typeof BETA_SCHEDULES)[number];
  readonly start: number;
  readonly end: number;
  /** Whether the class has `rescale_betas_zero_snr`; another class's key is not looked at. */
  readonly knowsZeroSnr: boolean;
}

const USUAL_DEFAULTS: NoiseScheduleDefaults = {
  schedule: 'linear',
  start: 0.0001,
  end: 0.02,
  knowsZeroSnr: true,
};

/**
 * The noise schedule of a config (`num_train_timesteps`, `beta_*`, `trained_betas`, `rescale_betas_zero_snr`).
 *
 * Rounded to float32 where diffusers rounds: 1 - alphasCumprod[0] is about 1e-3, so the rounding alone moves the last
 * noise levels by parts in 10^4, and the models' pictures should be those that diffusers makes.
 */
export function readNoiseSchedule(
  config: ConfigReader,
  defaults: Partial<NoiseScheduleDefaults> = {},
): NoiseSchedule {
  const usual = { ...USUAL_DEFAULTS, ...defaults };
  const trainTimesteps = config.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const schedule = config.choice('beta_schedule', usual.schedule, BETA_SCHEDULES);
  const start = config.number('beta_start', usual.start, 0, 1);
  const end = config.number('beta_end', usual.end, 0, 1);
  const trained = config.fractionsOrNull('trained_betas');
  if (trained !== null && trained.length !== trainTimesteps) {
    throw new Error(
      `trained_betas of the scheduler config has ${trained.length} numbers; it needs num_train_timesteps = ${trainTimesteps}.`,
    );
  }
  const betas =
    trained === null ? computeBetas(schedule, start, end, trainTimesteps) : Float32Array.from(trained);
  const rescalesToZeroSnr = usual.knowsZeroSnr && config.boolean('rescale_betas_zero_snr', false);
  const alphas = rescalesToZeroSnr ? rescaleToZeroSnr(betas) : betas.map((beta) => 1 - beta);
  const usesCosine = schedule === 'squaredcos_cap_v2';
  return { trainTimesteps, usesCosine, rescalesToZeroSnr, alphasCumprod: cumulativeProduct(alphas) };
}

/**
 * The trained timesteps' noise levels in the manner of Karras et al., sigma = sqrt((1 - a) / a), rising. An infinite
 * one, of a zero terminal SNR, cannot be integrated: 2^12 stands in for it, as diffusers takes 2^-24 for a signal of 0.
 */
export function trainedNoiseLevels({ rescalesToZeroSnr, alphasCumprod }: NoiseSchedule): Float32Array {
  const levels = alphasCumprod.map((alpha) => Math.sqrt((1 - alpha) / alpha));
  // Said outright: the root of 2^24 - 1 is next to half a float32, and torch rounds it up.
  if (rescalesToZeroSnr) levels[levels.length - 1] = 2 ** 12;
  return levels;
}

/**
 * Throws where the model would be asked at a timestep from which no step can be made: without noise, or without any
 * signal where that is divided by (models that predict epsilon, and PNDM whatever is predicted).
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
        `There is nothing of the picture at timestep ${timestep}: rescale_betas_zero_snr or a beta of 1 in trained_betas ` +
          'makes it pure noise. prediction_type epsilon and PNDM cannot start there; such models predict v_prediction or sample.',
      );
    }
    if (alpha === 1) {
      throw new Error(
        `There is no noise at timestep ${timestep}, so no step can be made from it: beta_start or trained_betas ` +
          'of the scheduler config begin with 0. Set them as the model was trained, or a larger steps_offset.',
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
      return linearSpace(start, end, count);
    case 'scaled_linear':
      // Latent Diffusion's schedule: linear in sqrt(beta).
      return linearSpace(Math.sqrt(start), Math.sqrt(end), count).map((root) => root * root);
    case 'squaredcos_cap_v2': {
      // Nichol and Dhariwal 2021, equation 17; betas are cut at 0.999.
      const alphaBar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: count }, (_, i) =>
        Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999),
      );
    }
  }
}

/** torch.linspace in float32, to the last bit: the step is rounded, and counted from the nearer end. */
function linearSpace(start: number, end: number, count: number): Float32Array {
  const [from, to] = [Math.fround(start), Math.fround(end)];
  if (count === 1) return Float32Array.of(from);
  const step = Math.fround(Math.fround(to - from) / (count - 1));
  const half = Math.floor(count / 2);
  return Float32Array.from({ length: count }, (_, i) =>
    i < half ? from + step * i : to - step * (count - 1 - i),
  );
}

/** Alphas after which the last timestep is pure noise: Lin et al. 2023, arXiv 2305.08891, algorithm 1. */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const first = roots[0];
  const last = roots[roots.length - 1];
  const scale = Math.fround(first / Math.fround(first - last));
  const alphaBars = roots.map((root) => Math.fround(Math.fround(root - last) * scale) ** 2);
  // diffusers goes through float32 betas, 1 - alpha, and back.
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
