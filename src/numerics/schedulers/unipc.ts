import { roundHalfToEven } from '../rounding.ts';
import { type ConfigReader, readConfig } from './config.ts';
import { readDynamicShift, readTerminal, shiftLevel, stretchToTerminal } from './flow-shift.ts';
import { readNoiseSchedule, trainedNoiseLevels } from './noise-schedule.ts';
import {
  atFlowLevel,
  atKarrasLevel,
  readDataPrediction,
  readNoisePrediction,
  type SignalAndNoise,
} from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import {
  checkLevels,
  findTimestep,
  readLevelSpacing,
  readRange,
  spaceExponentially,
  spaceKarras,
  spaceTimesteps,
  TIMESTEP_SPACINGS,
} from './sigma-spacing.ts';
import { refuseNoise } from './step-noise.ts';
import { readThreshold } from './thresholding.ts';
import { checkNextStep, checkStep, checkSteps, checkTimesteps, linearSpace } from './timesteps.ts';
import { shareUniStep, type UniPcMethod, type UniPcShares } from './unipc-step.ts';

/** What diffusers takes off a flow's first level of 1, where there is no signal to take the logarithm of. */
const FLOW_MARGIN = 1e-6;

/**
 * UniPC: Zhao, Bai, Rao, Zhou and Lu, "UniPC: a unified predictor-corrector framework for fast sampling of diffusion
 * models" (NeurIPS 2023, arXiv 2302.04867), algorithms 1 and 2 (B(h)), as diffusers' UniPCMultistepScheduler computes it.
 * Deterministic, made for 5 to 10 steps. The correction costs no evaluation of the model: its output at the predicted
 * latents also corrects them, and the next step starts from there.
 *
 * Every option of diffusers' class is there but `use_beta_sigmas` and `solver_p` (errors), with orders 1 to 3: bh1, bh2,
 * x_0 or noise, `disable_corrector`, thresholding (of x_0), Karras', exponential and flow levels. DPM-Solver's and DEIS'
 * names for `solver_type` are taken for bh2, as diffusers does.
 */
export const unipc: SchedulerDefinition = {
  name: 'unipc',
  classNames: ['UniPCMultistepScheduler'],
  aliases: ['uni_pc', 'uni_pc_bh2', 'UniPC Multistep'],
  source: 'Zhao et al. 2023, UniPC, arXiv 2302.04867',
  usesEta: false,
  create: createUniPc,
};

function createUniPc(config: SchedulerConfig, options: SchedulerOptions): Scheduler {
  const usesFlow = config.use_flow_sigmas === true;
  const reader = readConfig(
    config,
    'UniPCMultistepScheduler',
    usesFlow ? 'flow-matching' : 'variance-preserving',
  );
  if (config.solver_p !== undefined && config.solver_p !== null) {
    throw new Error(
      'solver_p of the scheduler config is set; UniPC here predicts by itself. Remove solver_p.',
    );
  }
  const method: UniPcMethod = {
    predictsData: reader.boolean('predict_x0', true),
    usesBh1: reader.choice('solver_type', 'bh2', ['bh1', 'bh2', 'midpoint', 'heun', 'logrho']) === 'bh1',
  };
  const threshold = readThreshold(reader, options.sampleLength);
  // diffusers thresholds x_0 only where it is what is integrated.
  const predict = method.predictsData
    ? readDataPrediction(reader, threshold)
    : readNoisePrediction(reader, null);
  const highestOrder = reader.integer('solver_order', 2, 1, 3);
  const lowerOrderFinal = reader.boolean('lower_order_final', true);
  const uncorrected = new Set(reader.indices('disable_corrector'));
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const { timesteps, levels } = spaceLevels(reader, options, endsAtZero);
  const count = timesteps.length;
  if (endsAtZero) checkEnd(method, Math.min(count, lowerOrderFinal ? 1 : highestOrder));
  const points = Array.from(levels, usesFlow ? atFlowLevel : atKarrasLevel);
  /** Predictions, latest first. */
  let history: Float32Array[] = [];
  let lastOrder = 0;
  let lastLatents = new Float32Array();
  let nextStep = 0;

  /** Points from where a step of this order goes back to where the first that it remembers started. */
  function pointsOf(target: number, order: number): readonly SignalAndNoise[] {
    return points.slice(target - order, target + 1).reverse();
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      refuseNoise(noise, 'unipc is deterministic');
      checkNextStep(step, nextStep);
      nextStep += 1;

      const prediction = predict(modelOutput, latents, points[step], levels[step]);
      let from = Float32Array.from(latents);
      if (step > 0 && !uncorrected.has(step - 1)) {
        const shares = shareUniStep(method, pointsOf(step, lastOrder), true);
        from = sum(shares, lastLatents, history, prediction);
      }
      history = [prediction, ...history].slice(0, highestOrder);
      lastOrder = Math.min(highestOrder, step + 1, lowerOrderFinal ? count - step : highestOrder);
      lastLatents = from;
      return sum(shareUniStep(method, pointsOf(step + 1, lastOrder), false), from, history);
    },
  };
}

function sum(
  shares: UniPcShares,
  latents: Float32Array,
  history: readonly Float32Array[],
  target?: Float32Array,
): Float32Array<ArrayBuffer> {
  // In float64 until the end: the parts are larger than what is left of them.
  return Float32Array.from(latents, (value, i) => {
    let next = shares.ofLatents * value;
    shares.ofPredictions.forEach((share, k) => {
      next += share * history[k][i];
    });
    return target === undefined ? next : next + shares.ofTarget * target[i];
  });
}

/** Throws where the last step, to where there is no noise, is infinitely long for what is integrated. */
function checkEnd({ predictsData, usesBh1 }: UniPcMethod, order: number): void {
  let problem = '';
  if (!predictsData) problem = 'predict_x0 is false';
  else if (usesBh1) problem = 'solver_type is bh1';
  else if (order > 1) problem = 'lower_order_final is false';
  if (problem === '') return;
  throw new Error(
    `final_sigmas_type of the scheduler config is zero, and ${problem}: such a step cannot end where there is no ` +
      'noise. Set final_sigmas_type to sigma_min.',
  );
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
  const kind = readLevelSpacing(reader, false, ['flow', 'karras']);
  const usesFlow = reader.boolean('use_flow_sigmas', false);
  const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  const terminal = readTerminal(reader);
  if (terminal !== null && !usesFlow) {
    throw new Error(
      `shift_terminal of the scheduler config is ${terminal}; it has a meaning only with use_flow_sigmas.`,
    );
  }
  checkSteps(steps, trainTimesteps);

  let timesteps: number[];
  let spaced: number[];
  if (kind === 'timesteps') {
    timesteps = spaceTimesteps(spacing, steps, trainTimesteps, trainTimesteps, offset);
    checkTimesteps(timesteps, trainTimesteps);
    spaced = timesteps.map((timestep) => trained[timestep]);
  } else if (kind === 'flow') {
    spaced = spaceFlow(reader, steps, trainTimesteps, terminal, imageSequenceLength);
    timesteps = spaced.map((level) => Math.floor(level * trainTimesteps));
  } else {
    spaced = (kind === 'karras' ? spaceKarras : spaceExponentially)(
      ...readRange(reader, trained, steps),
      steps,
    );
    if (usesFlow) spaced = spaced.map((level) => level / (level + 1));
    timesteps = spaced.map((level) => {
      if (usesFlow) return Math.floor(level * trainTimesteps);
      // diffusers rounds Karras' and cuts off the others' fraction.
      return (kind === 'karras' ? roundHalfToEven : Math.floor)(findTimestep(level, trained));
    });
  }
  const smallest = kind === 'timesteps' ? trained[0] : spaced[steps - 1];
  const levels = Float32Array.of(...spaced, endsAtZero ? 0 : smallest);
  checkLevels(levels, usesFlow);
  return { timesteps, levels };
}

/** From 1 evenly towards the last trained level, then shifted. */
function spaceFlow(
  reader: ConfigReader,
  steps: number,
  trainTimesteps: number,
  terminal: number | null,
  imageSequenceLength: number | undefined,
): number[] {
  const shift = reader.boolean('use_dynamic_shifting', false)
    ? readDynamicShift(reader, imageSequenceLength)
    : (reader.positiveOrNull('flow_shift') ?? 1);
  let levels = linearSpace(1, 1 / trainTimesteps, steps + 1)
    .slice(0, -1)
    .map((level) => shiftLevel(level, shift));
  if (terminal !== null) levels = stretchToTerminal(levels, terminal);
  if (Math.abs(levels[0] - 1) < FLOW_MARGIN) levels[0] -= FLOW_MARGIN;
  return levels;
}
