import { roundHalfToEven } from '../rounding.ts';
import { History } from './arrays.ts';
import { type ConfigReader, readConfig } from './config.ts';
import { readMu, shiftSigma } from './flow-shift.ts';
import { readNoiseSchedule, trainedSigmas } from './noise-schedule.ts';
import {
  atFlowSigma,
  atKarrasSigma,
  readDataPrediction,
  readNoisePrediction,
  type SolverPoint,
} from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import {
  checkSigmas,
  readSigmaRange,
  readSigmaSpacing,
  spaceExponentially,
  spaceInLambda,
  spaceKarras,
  timestepOf,
  withKarrasSigmas,
} from './sigmas.ts';
import {
  checkNextStep,
  checkNoise,
  checkStep,
  checkSteps,
  checkTimesteps,
  rejectNoise,
} from './step-checks.ts';
import { readThreshold } from './thresholding.ts';
import { linspace, readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

/**
 * diffusers' `algorithm_type`: with ++ x_0 is integrated, without it the noise; `sde` is the
 * stochastic form.
 */
const ALGORITHM_TYPES = ['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver'] as const;
type AlgorithmType = (typeof ALGORITHM_TYPES)[number];

/**
 * With fewer steps and `lower_order_final`, a run ends with steps of lower order; diffusers'
 * number.
 */
const MANY_STEPS = 15;

/**
 * DPM-Solver++, multistep: Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion
 * probabilistic models" (arXiv 2211.01095), algorithm 2, as diffusers' DPMSolverMultistepScheduler
 * computes it. It is deterministic; 10 to 25 steps are as good as 50 of DDIM.
 *
 * All options of diffusers' class are supported except `use_beta_sigmas` (an error): orders 1 to 3,
 * midpoint and heun, thresholding, and Karras', Lu's, exponential and flow levels. The name of the
 * scheduler determines the algorithm, whatever `algorithm_type` is; the names of the classes DEIS
 * and UniPC for it are accepted. Their names for `solver_type` mean midpoint, as in diffusers.
 * `variance_type` is ignored, because a model's output is as long as the latents.
 */
export const dpmSolverPlusPlus = define('dpmsolver++', ['DPM++ 2M', 'dpmpp_2m', 'k_dpmpp_2m']);

/** SDE-DPM-Solver++ of the same paper: the stochastic form, with new noise at every step. */
export const sdeDpmSolverPlusPlus = define('sde-dpmsolver++', [
  'DPM++ 2M SDE',
  'dpmpp_2m_sde',
  'k_dpmpp_2m_sde',
]);

/**
 * Lu et al. 2022, "DPM-Solver" (arXiv 2206.00927), which integrates the predicted noise. It needs
 * `final_sigmas_type` sigma_min.
 */
export const dpmSolver = define('dpmsolver', ['DPM-Solver']);

/** The stochastic form of `dpmsolver`, orders 1 and 2. It needs `final_sigmas_type` sigma_min. */
export const sdeDpmSolver = define('sde-dpmsolver', []);

/** `dpmsolver++` on Karras' noise levels, in place of those of the config. */
export const dpmSolverPlusPlusKarras = withKarrasSigmas(
  dpmSolverPlusPlus,
  dpmSolverPlusPlus.aliases.map((alias) => `${alias} Karras`),
);
/** `sde-dpmsolver++` on Karras' noise levels, in place of those of the config. */
export const sdeDpmSolverPlusPlusKarras = withKarrasSigmas(
  sdeDpmSolverPlusPlus,
  sdeDpmSolverPlusPlus.aliases.map((alias) => `${alias} Karras`),
);

function define(algorithmType: AlgorithmType, aliases: readonly string[]): SchedulerDefinition {
  return {
    name: algorithmType,
    // One class of diffusers is several schedulers here, because only some of them need noise.
    classNames: algorithmType === 'dpmsolver++' ? ['DPMSolverMultistepScheduler'] : [],
    aliases,
    source: algorithmType.endsWith('++')
      ? 'Lu et al. 2022, DPM-Solver++, arXiv 2211.01095'
      : 'Lu et al. 2022, DPM-Solver, arXiv 2206.00927',
    usesEta: false,
    create: (config, options) => createDpmSolver(algorithmType, config, options),
  };
}

function createDpmSolver(
  algorithmType: AlgorithmType,
  schedulerConfig: SchedulerConfig,
  options: SchedulerOptions,
): Scheduler {
  const useFlowSigmas = schedulerConfig.use_flow_sigmas === true;
  const config = readConfig(
    schedulerConfig,
    'DPMSolverMultistepScheduler',
    useFlowSigmas ? 'flow-matching' : 'variance-preserving',
  );
  config.choice('algorithm_type', 'dpmsolver++', [...ALGORITHM_TYPES, 'deis']);
  const stochastic = algorithmType.startsWith('sde');
  const predictsData = algorithmType.endsWith('++');
  const threshold = readThreshold(config, options.sampleLength);
  const convertModelOutput = predictsData
    ? readDataPrediction(config, threshold)
    : readNoisePrediction(config, threshold);
  const solverType = config.choice('solver_type', 'midpoint', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2']);
  const solverOrder = config.integer('solver_order', 2, 1, algorithmType === 'sde-dpmsolver' ? 2 : 3);
  const lowerOrderFinal = config.boolean('lower_order_final', true);
  const eulerAtFinal = config.boolean('euler_at_final', false);
  const endsAtZero = config.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  if (endsAtZero && !predictsData) {
    throw new Error(
      `final_sigmas_type of the scheduler config is zero; ${algorithmType} accepts only sigma_min, because ` +
        'it cannot step to the level without noise. Set it, or use dpmsolver++ or sde-dpmsolver++.',
    );
  }
  const { timesteps, sigmas } = spaceSigmas(config, options, endsAtZero);
  const points = Array.from(sigmas, useFlowSigmas ? atFlowSigma : atKarrasSigma);
  const count = timesteps.length;
  const convertedOutputs = new History(solverOrder);
  let nextStep = 0;

  function orderOf(step: number): number {
    const lowersFinalOrders = lowerOrderFinal && count < MANY_STEPS;
    if (step === count - 1 && (endsAtZero || eulerAtFinal || lowersFinalOrders)) return 1;
    return Math.min(solverOrder, step + 1, step === count - 2 && lowersFinalOrders ? 2 : 3);
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      if (stochastic) checkNoise(noise, latents, `${algorithmType} is stochastic`);
      else rejectNoise(noise, `${algorithmType} is deterministic`);
      checkNextStep(step, nextStep);
      nextStep += 1;

      const converted = convertedOutputs.next(latents.length);
      convertModelOutput(modelOutput, latents, points[step], sigmas[step], converted);
      convertedOutputs.push();
      const involved = points.slice(step + 1 - orderOf(step), step + 2).reverse();
      const coefficients = stepCoefficients(algorithmType, solverType === 'heun', involved);
      const { ofLatents, ofOutputs, ofNoise } = coefficients;
      for (let i = 0; i < into.length; i++) into[i] = ofLatents * latents[i];
      for (const [k, ofOutput] of ofOutputs.entries()) add(ofOutput, convertedOutputs.latest[k], into);
      if (noise !== undefined) add(ofNoise, noise, into);
      return into;
    },
  };
}

/** Adds the weighted values to `sums`. */
function add(weight: number, values: Float32Array, sums: Float32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += weight * values[i];
}

/**
 * The coefficients of the latents, of the converted outputs (newest first) and of the noise in the
 * next latents.
 *
 * @param points of the step's target, of its start and of the starts of the steps before it: one
 *   more than the order of the step
 */
function stepCoefficients(
  algorithmType: AlgorithmType,
  isHeun: boolean,
  points: readonly SolverPoint[],
): { ofLatents: number; ofOutputs: readonly number[]; ofNoise: number } {
  const [target, source] = points;
  const order = points.length - 1;
  const h = target.lambda - source.lambda;
  // With `sigma_min` the last level can equal the one before it.
  if (h === 0) return { ofLatents: 1, ofOutputs: [], ofNoise: 0 };
  const { ofLatents, scale, z, ofNoise } = integrate(algorithmType, source, target, h);

  // The output is approximated by a polynomial in lambda, which is integrated term by term:
  // constant, slope, curvature.
  const growth = Math.expm1(z);
  const constant = -scale * growth;
  if (order === 1) return { ofLatents, ofOutputs: [constant], ofNoise };
  // The midpoint method of second order takes half of the constant's integral for that of the
  // slope.
  const slope = order === 2 && !isHeun ? constant / 2 : -scale * (growth / z - 1);
  const r0 = (source.lambda - points[2].lambda) / h;
  if (order === 2) return { ofLatents, ofOutputs: [constant + slope / r0, -slope / r0], ofNoise };
  // The integral has - 0.5 for the SDE, too; diffusers has + 0.5, and pictures should agree with
  // it.
  const curvature = -scale * ((growth - z) / (z * z) + (algorithmType === 'sde-dpmsolver++' ? 0.5 : -0.5));
  const r1 = (points[2].lambda - points[3].lambda) / h;
  const bend = (slope * r0 + curvature) / (r0 + r1);
  const [latest, before] = [(slope + bend) / r0, -bend / r1];
  return { ofLatents, ofOutputs: [constant + latest, before - latest, -before], ofNoise };
}

/**
 * The terms in which the algorithms differ: the coefficients of the latents and of the noise, and
 * scale and z of the factor scale * (exp(z) - 1) of the outputs.
 */
function integrate(
  algorithmType: AlgorithmType,
  source: SolverPoint,
  target: SolverPoint,
  h: number,
): { ofLatents: number; scale: number; z: number; ofNoise: number } {
  const [alphaRatio, sigmaRatio] = [target.alpha / source.alpha, target.sigma / source.sigma];
  switch (algorithmType) {
    case 'dpmsolver++':
      return { ofLatents: sigmaRatio, scale: target.alpha, z: -h, ofNoise: 0 };
    case 'sde-dpmsolver++': {
      const deviation = target.sigma * Math.sqrt(-Math.expm1(-2 * h));
      return { ofLatents: sigmaRatio * Math.exp(-h), scale: target.alpha, z: -2 * h, ofNoise: deviation };
    }
    case 'dpmsolver':
      return { ofLatents: alphaRatio, scale: target.sigma, z: h, ofNoise: 0 };
    case 'sde-dpmsolver': {
      const deviation = target.sigma * Math.sqrt(Math.expm1(2 * h));
      return { ofLatents: alphaRatio, scale: 2 * target.sigma, z: h, ofNoise: deviation };
    }
  }
}

/** The noise levels, one more than timesteps, and the timesteps at which the model knows them. */
function spaceSigmas(
  config: ConfigReader,
  { steps, imageSequenceLength }: SchedulerOptions,
  endsAtZero: boolean,
): { timesteps: number[]; sigmas: Float32Array } {
  const schedule = readNoiseSchedule(config);
  const { numTrainTimesteps } = schedule;
  const trained = trainedSigmas(schedule);
  const spacing = readSigmaSpacing(config, { hasLu: true, flowSpacings: ['flow'] });
  const timestepSpacing = readTimestepSpacing(config, numTrainTimesteps, 'linspace');
  const lambdaMinClipped = config.number('lambda_min_clipped', -Infinity, -Infinity, Number.MAX_VALUE);
  checkSteps(steps, numTrainTimesteps);
  const finish = (timesteps: number[], sigmas: number[]) => {
    const all = Float32Array.of(...sigmas, endsAtZero ? 0 : trained[0]);
    checkSigmas(all, spacing === 'flow');
    return { timesteps, sigmas: all };
  };

  if (spacing === 'flow') {
    const sigmas = spaceFlow(config, steps, numTrainTimesteps, imageSequenceLength);
    const timesteps = sigmas.map((sigma) => Math.floor(sigma * numTrainTimesteps));
    return finish(timesteps, sigmas);
  }
  if (spacing === 'timesteps') {
    // lambda rises as t falls; timesteps with a lambda below the minimum are left out.
    const end = trained.filter((sigma) => -Math.log(sigma) >= lambdaMinClipped).length;
    const timesteps = spaceTimesteps(timestepSpacing, steps, numTrainTimesteps, { end, dropsLowest: true });
    checkTimesteps(timesteps, numTrainTimesteps);
    const sigmas = timesteps.map((timestep) => trained[timestep]);
    return finish(timesteps, sigmas);
  }
  const sigmas =
    spacing === 'lu'
      ? spaceInLambda(trained, steps)
      : (spacing === 'karras' ? spaceKarras : spaceExponentially)(
          readSigmaRange(config, trained, steps),
          steps,
        );
  // diffusers rounds, but truncates with the cosine schedule and with exponential levels.
  const round = spacing === 'exponential' || schedule.usesCosine ? Math.floor : roundHalfToEven;
  const timesteps = sigmas.map((sigma) => round(timestepOf(sigma, trained)));
  return finish(timesteps, sigmas);
}

/** Noise levels of a flow, evenly spaced and then shifted. */
function spaceFlow(
  config: ConfigReader,
  steps: number,
  numTrainTimesteps: number,
  imageSequenceLength: number | undefined,
): number[] {
  const useDynamicShifting = config.boolean('use_dynamic_shifting', false);
  if (useDynamicShifting) config.choice('time_shift_type', 'exponential', ['exponential']);
  const shift = useDynamicShifting
    ? Math.exp(readMu(config, imageSequenceLength))
    : (config.positiveOrNull('flow_shift') ?? 1);
  return linspace(1, 1 / numTrainTimesteps, steps + 1)
    .slice(1)
    .map((alpha) => shiftSigma(1 - alpha, shift))
    .reverse();
}
