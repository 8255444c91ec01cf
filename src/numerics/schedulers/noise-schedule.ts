import type { ConfigReader } from './config.ts';

const BETA_SCHEDULES = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;

/** Ho et al. 2020's betas, the defaults of most of diffusers' classes. */
const DDPM = { schedule: 'linear', start: 0.0001, end: 0.02 } as const;
/** Those of Stable Diffusion, which some classes have as defaults. */
export const LATENT_DIFFUSION = { schedule: 'scaled_linear', start: 0.00085, end: 0.012 } as const;

/** The forward process of a variance-preserving model: x_t = sqrt(alphasCumprod[t]) x_0 + sqrt(1 - alphasCumprod[t]) eps. */
export interface NoiseSchedule {
  readonly trainTimesteps: number;
  readonly usesCosine: boolean;
  readonly rescalesToZeroSnr: boolean;
  /** Product of (1 - beta) up to t, `trainTimesteps` numbers that fall with t. */
  readonly alphasCumprod: Float32Array;
}

/**
 * The noise schedule of a config (`num_train_timesteps`, `beta_*`, `trained_betas`, `rescale_betas_zero_snr`).
 *
 * Rounded to float32 where diffusers rounds: 1 - alphasCumprod[0] is about 1e-3, so the rounding alone moves the last
 * noise levels by parts in 10^4, and the models' pictures should be those that diffusers makes.
 */
export function readNoiseSchedule(
  config: ConfigReader,
  defaults: { readonly schedule: (typeof BETA_SCHEDULES)[number]; readonly start: number; readonly end: number } = DDPM,
): NoiseSchedule {
  const trainTimesteps = config.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const schedule = config.choice('beta_schedule', defaults.schedule, BETA_SCHEDULES);
  const start = config.number('beta_start', defaults.start, 0, 1);
  const end = config.number('beta_end', defaults.end, 0, 1);
  const trained = config.fractionsOrNull('trained_betas');
  if (trained !== null && trained.length !== trainTimesteps) {
    throw new Error(
      `trained_betas of the scheduler config has ${trained.length} numbers; it needs num_train_timesteps = ${trainTimesteps}.`,
    );
  }
  const betas = trained === null ? computeBetas(schedule, start, end, trainTimesteps) : Float32Array.from(trained);
  const rescalesToZeroSnr = config.boolean('rescale_betas_zero_snr', false);
  const alphas = rescalesToZeroSnr ? rescaleToZeroSnr(betas) : betas.map((beta) => 1 - beta);
  const usesCosine = schedule === 'squaredcos_cap_v2';
  return { trainTimesteps, usesCosine, rescalesToZeroSnr, alphasCumprod: cumulativeProduct(alphas) };
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

function linearSpace(start: number, end: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) =>
    count === 1 ? start : start + ((end - start) * i) / (count - 1),
  );
}

/** Alphas after which the last timestep is pure noise: Lin et al. 2023, arXiv 2305.08891, algorithm 1. */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const first = roots[0];
  const last = roots[roots.length - 1];
  const alphaBars = roots.map(
    (root) => (Math.fround(root - last) * Math.fround(first / Math.fround(first - last))) ** 2,
  );
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
