import { roundHalfToEven } from '../rounding.ts';
import { type ConfigReader, readConfig, setOver } from './config.ts';
import { ALGORITHMS, type Algorithm, shareStep } from './dpm-solver-step.ts';
import { readMu, shiftLevel } from './flow-shift.ts';
import { readNoiseSchedule, trainedNoiseLevels } from './noise-schedule.ts';
import { atFlowLevel, atKarrasLevel, readDataPrediction, readNoisePrediction } from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import {
  checkLevels,
  findTimestep,
  readLevelSpacing,
  readRange,
  spaceExponentially,
  spaceInLambda,
  spaceKarras,
  spaceTimesteps,
  TIMESTEP_SPACINGS,
} from './sigma-spacing.ts';
import { checkNoise, refuseNoise } from './step-noise.ts';
import { readThreshold } from './thresholding.ts';
import { checkNextStep, checkStep, checkSteps, checkTimesteps, linearSpace } from './timesteps.ts';

/** Fewer steps than this end with lower orders when `lower_order_final` is set; diffusers' number. */
const FEW_STEPS = 15;

/**
 * DPM-Solver++, multistep: Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models"
 * (arXiv 2211.01095), algorithm 2, as diffusers' DPMSolverMultistepScheduler computes it. Deterministic: 10 to 25 steps
 * do what DDIM does in 50.
 *
 * Every option of diffusers' class is there but `use_beta_sigmas` (an error): orders 1 to 3, midpoint and heun,
 * thresholding, Karras', Lu's, exponential and flow levels. The scheduler's name says the algorithm, whatever
 * `algorithm_type` is; the names that the sister classes DEIS and UniPC use for it and for `solver_type` are taken, the
 * latter for midpoint, as diffusers does. `variance_type` is not looked at: outputs are as long as the latents.
 */
export const dpmSolverMultistep = define('dpmsolver++', ['DPM++ 2M', 'dpmpp_2m', 'k_dpmpp_2m']);

/** The same for the SDE, with fresh noise at every step: the paper's SDE-DPM-Solver++. */
export const sdeDpmSolverMultistep = define('sde-dpmsolver++', [
  'DPM++ 2M SDE',
  'dpmpp_2m_sde',
  'k_dpmpp_2m_sde',
]);

/** Lu et al. 2022, "DPM-Solver" (arXiv 2206.00927): integrates the predicted noise. Needs `final_sigmas_type` sigma_min. */
export const firstDpmSolverMultistep = define('dpmsolver', ['DPM-Solver']);

/** The SDE of `dpmsolver`. Needs `final_sigmas_type` sigma_min; orders 1 and 2. */
export const firstSdeDpmSolverMultistep = define('sde-dpmsolver', []);

/** `dpmsolver++` and `sde-dpmsolver++` on Karras' noise levels, whatever the config says of them. */
export const dpmSolverMultistepKarras = onKarrasLevels(dpmSolverMultistep);
export const sdeDpmSolverMultistepKarras = onKarrasLevels(sdeDpmSolverMultistep);

function define(algorithm: Algorithm, aliases: readonly string[]): SchedulerDefinition {
  return {
    name: algorithm,
    // One class of diffusers, several schedulers here: not all of them take noise.
    classNames: algorithm === 'dpmsolver++' ? ['DPMSolverMultistepScheduler'] : [],
    aliases,
    source: algorithm.endsWith('++')
      ? 'Lu et al. 2022, DPM-Solver++, arXiv 2211.01095'
      : 'Lu et al. 2022, DPM-Solver, arXiv 2206.00927',
    usesEta: false,
    create: (config, options) => createDpmSolver(algorithm, config, options),
  };
}

function onKarrasLevels(definition: SchedulerDefinition): SchedulerDefinition {
  const karras = { use_karras_sigmas: true, use_exponential_sigmas: false, use_beta_sigmas: false };
  return {
    ...definition,
    name: `${definition.name}-karras`,
    classNames: [],
    aliases: definition.aliases.map((alias) => `${alias} Karras`),
    create: (config, options) => definition.create(setOver(config, karras), options),
  };
}

function createDpmSolver(
  algorithm: Algorithm,
  config: SchedulerConfig,
  options: SchedulerOptions,
): Scheduler {
  const usesFlow = config.use_flow_sigmas === true;
  const reader = readConfig(
    config,
    'DPMSolverMultistepScheduler',
    usesFlow ? 'flow-matching' : 'variance-preserving',
  );
  reader.choice('algorithm_type', 'dpmsolver++', [...ALGORITHMS, 'deis']);
  const stochastic = algorithm.startsWith('sde');
  const predictsData = algorithm.endsWith('++');
  const threshold = readThreshold(reader, options.sampleLength);
  const predict = predictsData
    ? readDataPrediction(reader, threshold)
    : readNoisePrediction(reader, threshold);
  const usesHeun =
    reader.choice('solver_type', 'midpoint', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2']) === 'heun';
  const highestOrder = reader.integer('solver_order', 2, 1, algorithm === 'sde-dpmsolver' ? 2 : 3);
  const lowerOrderFinal = reader.boolean('lower_order_final', true);
  const eulerAtFinal = reader.boolean('euler_at_final', false);
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  if (endsAtZero && !predictsData) {
    throw new Error(
      `final_sigmas_type of the scheduler config is zero; ${algorithm} takes only sigma_min, because it cannot step ` +
        'to where there is no noise. Set it, or take dpmsolver++ or sde-dpmsolver++.',
    );
  }
  const { timesteps, levels } = spaceLevels(reader, options, endsAtZero);
  const points = Array.from(levels, usesFlow ? atFlowLevel : atKarrasLevel);
  const count = timesteps.length;
  let history: Float32Array[] = [];
  let nextStep = 0;

  function orderOf(step: number): number {
    const endsLow = lowerOrderFinal && count < FEW_STEPS;
    if (step === count - 1 && (endsAtZero || eulerAtFinal || endsLow)) return 1;
    return Math.min(highestOrder, step + 1, step === count - 2 && endsLow ? 2 : 3);
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      if (stochastic) checkNoise(noise, latents, `${algorithm} is stochastic`);
      else refuseNoise(noise, `${algorithm} is deterministic`);
      checkNextStep(step, nextStep);
      nextStep += 1;

      history = [predict(modelOutput, latents, points[step], levels[step]), ...history].slice(
        0,
        highestOrder,
      );
      const order = orderOf(step);
      const shares = shareStep(algorithm, usesHeun, points.slice(step + 1 - order, step + 2).reverse());
      const next = latents.map((value) => shares.ofLatents * value);
      shares.ofPredictions.forEach((share, k) => {
        for (let i = 0; i < next.length; i++) next[i] += share * history[k][i];
      });
      if (noise !== undefined) for (let i = 0; i < next.length; i++) next[i] += shares.ofNoise * noise[i];
      return next;
    },
  };
}

/** Noise levels, one more than there are steps to make, and the timesteps at which the model knows them. */
function spaceLevels(
  reader: ConfigReader,
  { steps, imageSequenceLength }: SchedulerOptions,
  endsAtZero: boolean,
): { timesteps: number[]; levels: Float32Array } {
  const schedule = readNoiseSchedule(reader);
  const { trainTimesteps } = schedule;
  const trained = trainedNoiseLevels(schedule);
  const kind = readLevelSpacing(reader, true, ['flow']);
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  const minimumLambda = reader.number('lambda_min_clipped', -Infinity, -Infinity, Number.MAX_VALUE);
  checkSteps(steps, trainTimesteps);
  const finish = (timesteps: number[], levels: number[]) => {
    const all = Float32Array.of(...levels, endsAtZero ? 0 : trained[0]);
    checkLevels(all, kind === 'flow');
    return { timesteps, levels: all };
  };

  if (kind === 'flow') {
    const isDynamic = reader.boolean('use_dynamic_shifting', false);
    if (isDynamic) reader.choice('time_shift_type', 'exponential', ['exponential']);
    const shift = isDynamic
      ? Math.exp(readMu(reader, imageSequenceLength))
      : (reader.positiveOrNull('flow_shift') ?? 1);
    const levels = linearSpace(1, 1 / trainTimesteps, steps + 1)
      .slice(1)
      .map((alpha) => shiftLevel(1 - alpha, shift))
      .reverse();
    return finish(
      levels.map((level) => Math.floor(level * trainTimesteps)),
      levels,
    );
  }
  if (kind === 'timesteps') {
    // lambda rises as t falls; those below the minimum are left out.
    const last = trained.filter((level) => -Math.log(level) >= minimumLambda).length;
    const timesteps = spaceTimesteps(spacing, steps, trainTimesteps, last, offset);
    checkTimesteps(timesteps, trainTimesteps);
    return finish(
      timesteps,
      timesteps.map((timestep) => trained[timestep]),
    );
  }
  let spaced = spaceInLambda(trained, steps);
  if (kind !== 'lu') {
    const [largest, smallest] = readRange(reader, trained, steps);
    spaced = (kind === 'karras' ? spaceKarras : spaceExponentially)(largest, smallest, steps);
  }
  // diffusers rounds these, but for the cosine schedule and the exponential levels, whose fraction is cut off.
  const rounds = kind !== 'exponential' && !schedule.usesCosine;
  return finish(
    spaced.map((level) => (rounds ? roundHalfToEven : Math.floor)(findTimestep(level, trained))),
    spaced,
  );
}
