import { roundHalfToEven } from '../rounding.ts';
import { type ConfigReader, overrideConfig, readConfig } from './config.ts';
import { type NoiseSchedule, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { exponentialSigmas, karrasSigmas, readSigmaSpacing, timestepAt, trainingSigmas } from './sigmas.ts';
import { readLimit } from './threshold.ts';
import { checkNoise, checkOrder, checkStep, checkSteps, checkTimesteps, multistepTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/** Fewer steps than this end with lower-order ones when `lower_order_final` is set; diffusers' number. */
const FEW_STEPS = 15;

const source = 'Lu et al. 2022, DPM-Solver++, arXiv 2211.01095';
const isSde = (config: SchedulerConfig) => config.algorithm_type === 'sde-dpmsolver++';

/**
 * DPM-Solver++ multistep: Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models"
 * (arXiv 2211.01095), algorithm 2 and its forms of orders 1 and 3, as diffusers' DPMSolverMultistepScheduler computes it.
 * Deterministic: 10 to 25 steps do what DDIM does in 50.
 *
 * Not there: the first DPM-Solver (`dpmsolver`, `sde-dpmsolver`, which diffusers gives up), beta sigmas, flow sigmas. The names that the
 * sister classes DEIS and UniPC use for algorithm and solver are taken for dpmsolver++ and midpoint, as diffusers does.
 */
export const dpmSolverMultistep: SchedulerDefinition = {
  name: 'dpmsolver++',
  classNames: ['DPMSolverMultistepScheduler'],
  aliases: ['DPM++ 2M', 'dpmpp_2m', 'dpm_solver_multistep'],
  isMeantBy: (config) => !isSde(config),
  source,
  usesEta: false,
  create: (config, options) =>
    create(isSde(config) ? overrideConfig(config, { algorithm_type: 'dpmsolver++' }) : config, options),
};

/** The same method for the SDE: noise is added at every step (the paper's appendix, SDE-DPM-Solver++). */
export const sdeDpmSolverMultistep: SchedulerDefinition = {
  name: 'sde-dpmsolver++',
  classNames: ['DPMSolverMultistepScheduler'],
  aliases: ['DPM++ 2M SDE', 'dpmpp_2m_sde'],
  isMeantBy: isSde,
  source,
  usesEta: false,
  create: (config, options) => create(overrideConfig(config, { algorithm_type: 'sde-dpmsolver++' }), options),
};

/** Both on Karras' noise levels, whatever the config says. */
export const dpmSolverKarras = onKarrasLevels(dpmSolverMultistep, ['DPM++ 2M Karras', 'dpmpp_2m_karras']);
export const sdeDpmSolverKarras = onKarrasLevels(sdeDpmSolverMultistep, ['DPM++ 2M SDE Karras', 'dpmpp_2m_sde_karras']);

function onKarrasLevels(definition: SchedulerDefinition, aliases: readonly string[]): SchedulerDefinition {
  const changes = { use_karras_sigmas: true, use_exponential_sigmas: false, use_lu_lambdas: false };
  return {
    ...definition,
    name: `${definition.name}-karras`,
    classNames: [],
    aliases,
    create: (config, options) => definition.create(overrideConfig(config, changes), options),
  };
}

function create(config: SchedulerConfig, { steps, sampleLength }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'DPMSolverMultistepScheduler');
  const schedule = readNoiseSchedule(reader);
  for (const key of ['use_flow_sigmas', 'use_dynamic_shifting']) reader.refuse(key);
  const stochastic =
    reader.choice('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'sde-dpmsolver++', 'deis']) === 'sde-dpmsolver++';
  const usesHeun = reader.choice('solver_type', 'midpoint', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2']) === 'heun';
  const order = reader.integer('solver_order', 2, 1, 3);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const lowerOrderFinal = reader.boolean('lower_order_final', true);
  const eulerAtFinal = reader.boolean('euler_at_final', false);
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const limit = readLimit(reader, null);
  const { timesteps, sigmas } = spaceSteps(reader, schedule, steps);
  const levels = Float32Array.of(...sigmas, endsAtZero ? 0 : trainingSigmas(schedule)[0]);
  const count = timesteps.length;

  function orderAt(step: number): number {
    const isFew = lowerOrderFinal && count < FEW_STEPS;
    if (step === count - 1 && (endsAtZero || eulerAtFinal || isFew)) return 1;
    return Math.min(order, step + 1, step === count - 2 && isFew ? 2 : order);
  }

  /** Predictions of x_0 at the last levels, newest first. */
  let cleans: Float32Array[] = [];
  let nextStep = 0;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(
        noise,
        latents.length,
        stochastic,
        stochastic ? 'sde-dpmsolver++ adds noise' : 'dpmsolver++ is deterministic',
      );
      checkOrder(step, nextStep);
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
      const clean = latents.map((value, i) => cleanOfLatents * value + cleanOfOutput * modelOutput[i]);
      limit(clean, sampleLength);
      cleans = [clean, ...cleans].slice(0, order);

      const h = target.lambda - source.lambda;
      const weights = stochastic ? sdeWeights(h) : odeWeights(h);
      const stepOrder = orderAt(step);
      const terms = differences(cleans, stepOrder, h, (back) => toAlphaSigma(levels[step - back]).lambda);
      const ofDifferences = stepOrder === 2 && !usesHeun ? [weights.midpoint] : [weights.first, weights.second];
      const ofLatents = (target.sigma / source.sigma) * weights.decay;
      const ofNoise = target.sigma * weights.noise;
      return latents.map((value, i) => {
        let sum = weights.clean * clean[i];
        for (const [k, difference] of terms.entries()) sum += ofDifferences[k] * difference[i];
        return ofLatents * value + target.alpha * sum + (noise ? ofNoise * noise[i] : 0);
      });
    },
  };
}

/** Factors of x_0 (D_0), of D_1 (midpoint, else exact) and D_2 in units of alpha_t, for the ODE: equations (12) and appendix B. */
function odeWeights(h: number) {
  const e = Math.expm1(-h);
  return { decay: 1, clean: -e, midpoint: -0.5 * e, first: e / h + 1, second: -((e + h) / h ** 2 - 0.5), noise: 0 };
}

/** The same for the SDE, where h counts twice. */
function sdeWeights(h: number) {
  const e = -Math.expm1(-2 * h);
  return {
    decay: Math.exp(-h),
    clean: e,
    midpoint: 0.5 * e,
    first: e / (-2 * h) + 1,
    second: (e - 2 * h) / (2 * h) ** 2 - 0.5,
    noise: Math.sqrt(e),
  };
}

/** D_1 and D_2: differences of the last predictions in steps of lambda, divided (algorithm 2; third order as in DPM-Solver-3). */
function differences(
  cleans: readonly Float32Array[],
  order: number,
  h: number,
  lambda: (back: number) => number,
): Float32Array[] {
  if (order === 1) return [];
  const [m0, m1, m2] = cleans;
  const r0 = (lambda(0) - lambda(1)) / h;
  const near = m0.map((value, i) => (value - m1[i]) / r0);
  if (order === 2) return [near];
  const r1 = (lambda(1) - lambda(2)) / h;
  const bend = near.map((value, i) => value - (m1[i] - m2[i]) / r1);
  return [near.map((value, i) => value + (r0 / (r0 + r1)) * bend[i]), bend.map((value) => value / (r0 + r1))];
}

/** alpha_t, sigma_t and lambda_t = log(alpha_t / sigma_t) at Karras' noise level sigma_t / alpha_t. */
function toAlphaSigma(level: number): { alpha: number; sigma: number; lambda: number } {
  const alpha = 1 / Math.sqrt(level * level + 1);
  return { alpha, sigma: level * alpha, lambda: -Math.log(level) };
}

function spaceSteps(
  reader: ConfigReader,
  schedule: NoiseSchedule,
  steps: number,
): { readonly timesteps: number[]; readonly sigmas: number[] } {
  const { trainTimesteps, usesCosine } = schedule;
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  const [lowest, highest] = [Number.NEGATIVE_INFINITY, Number.MAX_VALUE];
  const minimumLambda = reader.number('lambda_min_clipped', lowest, lowest, highest);
  checkSteps(steps, trainTimesteps);
  const trainSigmas = trainingSigmas(schedule);
  const special = reader.boolean('use_lu_lambdas', false) ? 'lu' : readSigmaSpacing(reader);
  if (special === null) {
    // lambda = log(alpha_t / sigma_t) = -log(sigma) rises as t falls.
    const last = trainSigmas.filter((sigma) => -Math.log(sigma) >= minimumLambda).length;
    const timesteps = multistepTimesteps(spacing, steps, trainTimesteps, last, offset);
    checkTimesteps(timesteps, trainTimesteps);
    return { timesteps, sigmas: timesteps.map((timestep) => trainSigmas[timestep]) };
  }
  const [first, last] = [trainSigmas[trainTimesteps - 1], trainSigmas[0]];
  // Lu et al. 2022 (arXiv 2206.00927), section 3.3, space log(sigma) evenly over the whole range.
  const [from, to] =
    special === 'lu'
      ? [first, last]
      : [reader.positiveOrNull('sigma_max') ?? first, reader.positiveOrNull('sigma_min') ?? last];
  const sigmas = (special === 'karras' ? karrasSigmas : exponentialSigmas)(from, to, steps);
  const rounds = special !== 'exponential' && !usesCosine;
  return {
    timesteps: sigmas.map((sigma) => timestepAt(sigma, trainSigmas)).map(rounds ? roundHalfToEven : Math.floor),
    sigmas,
  };
}
