import { readConfig } from './config.ts';
import { readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkStep, checkSteps, checkTimesteps, roundHalfToEven, trailingTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/** Fewer steps than this end with first-order ones when `lower_order_final` is set; diffusers' number. */
const FEW_STEPS = 15;

/**
 * DPM-Solver++(2M): Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models"
 * (arXiv 2211.01095), algorithm 2, as diffusers' DPMSolverMultistepScheduler computes it. Deterministic: 10 to 25 steps
 * do what DDIM does in 50.
 *
 * What is there: `algorithm_type` dpmsolver++, orders 1 and 2, midpoint and heun, Karras' noise levels. The other
 * algorithms, order 3, other noise levels and thresholding are errors. The names that the sister classes DEIS and UniPC
 * use for these choices are taken for dpmsolver++ and midpoint, as diffusers does.
 */
export const dpmSolverMultistep: SchedulerDefinition = {
  name: 'dpmsolver++',
  classNames: ['DPMSolverMultistepScheduler'],
  source: 'Lu et al. 2022, DPM-Solver++, arXiv 2211.01095',
  usesEta: false,
  create: createDpmSolverMultistep,
};

function createDpmSolverMultistep(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'DPMSolverMultistepScheduler');
  const { trainTimesteps, usesCosine, rescalesToZeroSnr, alphasCumprod } = readNoiseSchedule(reader);
  // Infinite noise cannot be integrated; 2^-24 is diffusers' stand-in for a signal of zero.
  if (rescalesToZeroSnr) alphasCumprod[trainTimesteps - 1] = 2 ** -24;
  for (const key of [
    'thresholding',
    'use_lu_lambdas',
    'use_exponential_sigmas',
    'use_beta_sigmas',
    'use_flow_sigmas',
  ]) {
    reader.refuse(key);
  }
  reader.choice('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'deis']);
  const usesHeun = reader.choice('solver_type', 'midpoint', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2']) === 'heun';
  const order = reader.integer('solver_order', 2, 1, 2);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const lowerOrderFinal = reader.boolean('lower_order_final', true);
  const eulerAtFinal = reader.boolean('euler_at_final', false);
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  const minimumLambda = reader.number(
    'lambda_min_clipped',
    Number.NEGATIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.MAX_VALUE,
  );
  checkSteps(steps, trainTimesteps);

  // Noise levels in the manner of Karras et al.: sigma = sqrt((1 - a) / a).
  const trainSigmas = alphasCumprod.map((alpha) => Math.sqrt((1 - alpha) / alpha));
  let timesteps: number[];
  let sigmas: number[];
  if (reader.boolean('use_karras_sigmas', false)) {
    sigmas = spaceKarrasSigmas(
      reader.positiveOrNull('sigma_max') ?? trainSigmas[trainTimesteps - 1],
      reader.positiveOrNull('sigma_min') ?? trainSigmas[0],
      steps,
    );
    timesteps = sigmas.map((sigma) => {
      const timestep = findTimestep(sigma, trainSigmas);
      return usesCosine ? Math.floor(timestep) : roundHalfToEven(timestep);
    });
  } else {
    // lambda = log(alpha_t / sigma_t) = -log(sigma) rises as t falls.
    const last = trainSigmas.filter((sigma) => -Math.log(sigma) >= minimumLambda).length;
    timesteps = spaceTimesteps(spacing, steps, trainTimesteps, last, offset);
    checkTimesteps(timesteps, trainTimesteps);
    sigmas = timesteps.map((timestep) => trainSigmas[timestep]);
  }
  const levels = Float32Array.of(...sigmas, endsAtZero ? 0 : trainSigmas[0]);
  const count = timesteps.length;
  let previousClean: Float32Array | null = null;
  let nextStep = 0;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      if (noise !== undefined) throw new RangeError('dpmsolver++ is deterministic: step takes no noise.');
      if (step !== nextStep) {
        throw new RangeError(
          `step is ${step} where ${nextStep} was to come: this method remembers its last step, so a scheduler serves one denoising run.`,
        );
      }
      nextStep += 1;

      const source = toAlphaSigma(levels[step]);
      const target = toAlphaSigma(levels[step + 1]);
      // x_0 as a sum of the latents and the model's output, by prediction type.
      let [cleanOfLatents, cleanOfOutput] = [0, 1];
      if (predictionType === 'epsilon') {
        [cleanOfLatents, cleanOfOutput] = [1 / source.alpha, -source.sigma / source.alpha];
      } else if (predictionType === 'v_prediction') {
        [cleanOfLatents, cleanOfOutput] = [source.alpha, -source.sigma];
      }
      const clean = new Float32Array(latents.length);
      for (let i = 0; i < clean.length; i++) clean[i] = cleanOfLatents * latents[i] + cleanOfOutput * modelOutput[i];

      const isFirstOrder =
        order === 1 ||
        previousClean === null ||
        (step === count - 1 && (endsAtZero || eulerAtFinal || (lowerOrderFinal && count < FEW_STEPS)));
      const h = target.lambda - source.lambda;
      const ofLatents = target.sigma / source.sigma;
      const ofClean = -target.alpha * Math.expm1(-h);
      const next = new Float32Array(latents.length);
      if (isFirstOrder || previousClean === null) {
        // Algorithm 2, line 4; the same as DDIM with eta = 0.
        for (let i = 0; i < next.length; i++) next[i] = ofLatents * latents[i] + ofClean * clean[i];
      } else {
        // Algorithm 2, lines 7 and 8: D = x_0 + (x_0 - x_0 before) / (2 r); `ofDifference` holds 1 / r.
        const ratio = (source.lambda - toAlphaSigma(levels[step - 1]).lambda) / h;
        const ofDifference = (usesHeun ? target.alpha * (Math.expm1(-h) / h + 1) : 0.5 * ofClean) / ratio;
        const ofNew = ofClean + ofDifference;
        for (let i = 0; i < next.length; i++) {
          next[i] = ofLatents * latents[i] + ofNew * clean[i] - ofDifference * previousClean[i];
        }
      }
      previousClean = clean;
      return next;
    },
  };
}

/** alpha_t, sigma_t and lambda_t = log(alpha_t / sigma_t) at Karras' noise level sigma_t / alpha_t. */
function toAlphaSigma(level: number): { alpha: number; sigma: number; lambda: number } {
  const alpha = 1 / Math.sqrt(level * level + 1);
  return { alpha, sigma: level * alpha, lambda: -Math.log(level) };
}

/** Table 2 of Lin et al. 2023 (arXiv 2305.08891) with one timestep more than asked for, of which the lowest is left out. */
function spaceTimesteps(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  last: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(last, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(last / (steps + 1));
    return Array.from({ length: steps }, (_, i) => (steps - i) * stride + offset);
  }
  return Array.from({ length: steps }, (_, i) => roundHalfToEven(((last - 1) * (steps - i)) / steps));
}

/** Karras et al. 2022 (arXiv 2206.00364), equation 5 with rho = 7. */
function spaceKarrasSigmas(largest: number, smallest: number, steps: number): number[] {
  const [from, to] = [largest ** (1 / 7), smallest ** (1 / 7)];
  return Array.from({ length: steps }, (_, i) => (from + (steps === 1 ? 0 : i / (steps - 1)) * (to - from)) ** 7);
}

/** The timestep, not rounded, whose noise level is `sigma`, linear in log(sigma) between the trained ones. */
function findTimestep(sigma: number, trainSigmas: Float32Array): number {
  let low = 0;
  while (low < trainSigmas.length - 2 && trainSigmas[low + 1] <= sigma) low += 1;
  // In float32 as in diffusers: the cosine schedule cuts its result to an integer, where the last bit shows.
  const [from, to] = [Math.fround(Math.log(trainSigmas[low])), Math.fround(Math.log(trainSigmas[low + 1]))];
  const share = (Math.log(sigma) - from) / (to - from);
  return low + Math.min(1, Math.max(0, share));
}
