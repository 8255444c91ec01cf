import { solveLinearSystem } from '../linear-system.ts';
import { roundHalfToEven } from '../rounding.ts';
import { createScratch, History, weightedSum } from './arrays.ts';
import { type ConfigReader, readConfig } from './config.ts';
import { readDynamicShift, readTerminal, shiftSigma, stretchToTerminal } from './flow-shift.ts';
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
  spaceKarras,
  timestepOf,
} from './sigmas.ts';
import { checkNextStep, checkStep, checkSteps, checkTimesteps, rejectNoise } from './step-checks.ts';
import { readThreshold } from './thresholding.ts';
import { linspace, readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

/** diffusers subtracts this from a flow's first level of 1, whose signal 0 has no logarithm. */
const FLOW_MARGIN = 1e-6;

/**
 * UniPC: Zhao, Bai, Rao, Zhou and Lu, "UniPC: a unified predictor-corrector framework for fast
 * sampling of diffusion models" (NeurIPS 2023, arXiv 2302.04867), algorithms 1 and 2 (B(h)), as
 * diffusers' UniPCMultistepScheduler computes it. It is deterministic and made for 5 to 10 steps.
 * The correction needs no evaluation of its own: the model's output at the predicted latents also
 * corrects these, and the next step starts from the result.
 *
 * All options of diffusers' class are supported with orders 1 to 3 except `use_beta_sigmas` and
 * `solver_p` (errors): bh1, bh2, x_0 or noise, `disable_corrector`, thresholding of x_0, and
 * Karras', exponential and flow levels. The names of DPM-Solver and DEIS for `solver_type` mean
 * bh2, as in diffusers.
 */
export const unipc: SchedulerDefinition = {
  name: 'unipc',
  classNames: ['UniPCMultistepScheduler'],
  aliases: ['uni_pc', 'uni_pc_bh2', 'UniPC Multistep'],
  source: 'Zhao et al. 2023, UniPC, arXiv 2302.04867',
  usesEta: false,
  create: createUniPc,
};

interface Method {
  /** Whether the method integrates the prediction of x_0, or that of the noise. */
  readonly predictX0: boolean;
  /** The paper's B(h): h (bh1) or exp(h) - 1 (bh2). */
  readonly isBh1: boolean;
}

function createUniPc(schedulerConfig: SchedulerConfig, options: SchedulerOptions): Scheduler {
  const useFlowSigmas = schedulerConfig.use_flow_sigmas === true;
  const config = readConfig(
    schedulerConfig,
    'UniPCMultistepScheduler',
    useFlowSigmas ? 'flow-matching' : 'variance-preserving',
  );
  if (schedulerConfig.solver_p !== undefined && schedulerConfig.solver_p !== null) {
    throw new Error(
      'solver_p of the scheduler config is set; this UniPC supports only its own predictor. Remove solver_p.',
    );
  }
  const method: Method = {
    predictX0: config.boolean('predict_x0', true),
    isBh1: config.choice('solver_type', 'bh2', ['bh1', 'bh2', 'midpoint', 'heun', 'logrho']) === 'bh1',
  };
  const threshold = readThreshold(config, options.sampleLength);
  // diffusers thresholds x_0 only where the method integrates it.
  const convertModelOutput = method.predictX0
    ? readDataPrediction(config, threshold)
    : readNoisePrediction(config, null);
  const solverOrder = config.integer('solver_order', 2, 1, 3);
  const lowerOrderFinal = config.boolean('lower_order_final', true);
  const disableCorrector = new Set(config.indices('disable_corrector'));
  const endsAtZero = config.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const { timesteps, sigmas } = spaceSigmas(config, options, endsAtZero);
  const count = timesteps.length;
  if (endsAtZero) checkFinalStep(method, Math.min(count, lowerOrderFinal ? 1 : solverOrder));
  const points = Array.from(sigmas, useFlowSigmas ? atFlowSigma : atKarrasSigma);
  const convertedOutputs = new History(solverOrder);
  let lastOrder = 0;
  /** The latents that the last step started from, corrected. */
  const sampleArray = createScratch();
  let nextStep = 0;

  /**
   * The points from `target` back to the start of the oldest step that a step of this order uses.
   */
  function pointsOf(target: number, order: number): readonly SolverPoint[] {
    return points.slice(target - order, target + 1).reverse();
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      rejectNoise(noise, 'unipc is deterministic');
      checkNextStep(step, nextStep);
      nextStep += 1;

      const converted = convertedOutputs.next(latents.length);
      convertModelOutput(modelOutput, latents, points[step], sigmas[step], converted);
      const sample = sampleArray(latents.length);
      if (step > 0 && !disableCorrector.has(step - 1)) {
        const corrector = stepCoefficients(method, pointsOf(step, lastOrder), true);
        combine(corrector, sample, convertedOutputs.latest, sample, converted);
      } else {
        sample.set(latents);
      }
      convertedOutputs.push();
      lastOrder = Math.min(solverOrder, step + 1, lowerOrderFinal ? count - step : solverOrder);
      const predictor = stepCoefficients(method, pointsOf(step + 1, lastOrder), false);
      return combine(predictor, sample, convertedOutputs.latest, into);
    },
  };
}

/** Coefficients in the next latents. */
interface StepCoefficients {
  readonly ofLatents: number;
  /** Of the converted outputs, newest first. */
  readonly ofOutputs: readonly number[];
  /** Of the converted output at the target; 0 in the predictor. */
  readonly ofTarget: number;
}

/**
 * The coefficients of a step of the predictor UniP or the corrector UniC (section 3). The latents
 * and the latest output advance as in the first order of DPM-Solver. The differences D_k / r_k of
 * the outputs are added with the factor B(h) and the weights a that solve R a = b of theorem 3.1
 * (for x_0, with -h in place of h).
 *
 * @param points of the step's target, of its start and of the starts of the steps before it: one
 *   more than the order of the step
 * @param corrects true for UniC, which knows the output at the target
 */
function stepCoefficients(
  { predictX0, isBh1 }: Method,
  points: readonly SolverPoint[],
  corrects: boolean,
): StepCoefficients {
  const [target, source, ...before] = points;
  const h = target.lambda - source.lambda;
  // With `sigma_min` the last level can equal the one before it.
  if (h === 0) return { ofLatents: 1, ofOutputs: [], ofTarget: 0 };
  const z = predictX0 ? -h : h;
  const growth = Math.expm1(z);
  const scale = predictX0 ? target.alpha : target.sigma;
  const ofLatents = predictX0 ? target.sigma / source.sigma : target.alpha / source.alpha;

  const nodes = before.map(({ lambda }) => (lambda - source.lambda) / h);
  const bOfH = isBh1 ? z : growth;
  const weights = differenceWeights(z, growth, bOfH, corrects ? [...nodes, 1] : nodes);
  const ofDifferences = weights.map((weight, k) => (-scale * bOfH * weight) / (nodes[k] ?? 1));
  const ofSource = ofDifferences.reduce((rest, coefficient) => rest - coefficient, -scale * growth);
  return {
    ofLatents,
    ofOutputs: [ofSource, ...ofDifferences.slice(0, nodes.length)],
    ofTarget: corrects ? ofDifferences[nodes.length] : 0,
  };
}

/** a of R a = b: one weight per node r. */
function differenceWeights(
  z: number,
  growth: number,
  bOfH: number,
  nodes: readonly number[],
): readonly number[] {
  if (nodes.length === 0) return [];
  // The paper's 1/2 for UniP-2 and UniC-1: their orders then hold for any B(h).
  if (nodes.length === 1) return [0.5];
  const rows: number[][] = [];
  let phi = growth / z - 1;
  let factorial = 1;
  for (let i = 0; i < nodes.length; i++) {
    rows.push([...nodes.map((node) => node ** i), (phi * factorial) / bOfH]);
    factorial *= i + 2;
    phi = phi / z - 1 / factorial;
  }
  return solveLinearSystem(rows);
}

/** @param into array for the result; it may be `latents` */
function combine(
  { ofLatents, ofOutputs, ofTarget }: StepCoefficients,
  latents: Float32Array,
  modelOutputs: readonly Float32Array[],
  into: Float32Array,
  target?: Float32Array,
): Float32Array {
  const weights = [ofLatents, ...ofOutputs];
  const terms = [latents, ...modelOutputs.slice(0, ofOutputs.length)];
  // In float64 until the end, because the terms are larger than their sum.
  return target === undefined
    ? weightedSum(weights, terms, into)
    : weightedSum([...weights, ofTarget], [...terms, target], into);
}

/** Rejects methods whose last step, to the level without noise, would be infinitely long. */
function checkFinalStep({ predictX0, isBh1 }: Method, order: number): void {
  let problem = '';
  if (!predictX0) problem = 'predict_x0 is false';
  else if (isBh1) problem = 'solver_type is bh1';
  else if (order > 1) problem = 'lower_order_final is false';
  if (problem === '') return;
  throw new Error(
    `final_sigmas_type of the scheduler config is zero, and ${problem}: such a step cannot end at the ` +
      'level without noise. Set final_sigmas_type to sigma_min.',
  );
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
  const spacing = readSigmaSpacing(config, { flowSpacings: ['flow', 'karras'] });
  const useFlowSigmas = config.boolean('use_flow_sigmas', false);
  const timestepSpacing = readTimestepSpacing(config, numTrainTimesteps, 'linspace');
  const terminal = readTerminal(config);
  if (terminal !== null && !useFlowSigmas) {
    throw new Error(
      `shift_terminal of the scheduler config is ${terminal}; it has an effect only with use_flow_sigmas.`,
    );
  }
  checkSteps(steps, numTrainTimesteps);

  let timesteps: number[];
  let spaced: number[];
  if (spacing === 'timesteps') {
    timesteps = spaceTimesteps(timestepSpacing, steps, numTrainTimesteps, { dropsLowest: true });
    checkTimesteps(timesteps, numTrainTimesteps);
    spaced = timesteps.map((timestep) => trained[timestep]);
  } else if (spacing === 'flow') {
    spaced = spaceFlow(config, steps, numTrainTimesteps, terminal, imageSequenceLength);
    timesteps = spaced.map((sigma) => Math.floor(sigma * numTrainTimesteps));
  } else {
    const range = readSigmaRange(config, trained, steps);
    spaced = (spacing === 'karras' ? spaceKarras : spaceExponentially)(range, steps);
    if (useFlowSigmas) spaced = spaced.map((sigma) => sigma / (sigma + 1));
    timesteps = spaced.map((sigma) => {
      if (useFlowSigmas) return Math.floor(sigma * numTrainTimesteps);
      // diffusers rounds with Karras' levels and truncates with exponential ones.
      return (spacing === 'karras' ? roundHalfToEven : Math.floor)(timestepOf(sigma, trained));
    });
  }
  const sigmaMin = spacing === 'timesteps' ? trained[0] : spaced[steps - 1];
  const sigmas = Float32Array.of(...spaced, endsAtZero ? 0 : sigmaMin);
  checkSigmas(sigmas, useFlowSigmas);
  return { timesteps, sigmas };
}

/** Noise levels of a flow, from 1 evenly towards the last trained level, then shifted. */
function spaceFlow(
  config: ConfigReader,
  steps: number,
  numTrainTimesteps: number,
  terminal: number | null,
  imageSequenceLength: number | undefined,
): number[] {
  const shift = config.boolean('use_dynamic_shifting', false)
    ? readDynamicShift(config, imageSequenceLength)
    : (config.positiveOrNull('flow_shift') ?? 1);
  let sigmas = linspace(1, 1 / numTrainTimesteps, steps + 1)
    .slice(0, -1)
    .map((sigma) => shiftSigma(sigma, shift));
  if (terminal !== null) sigmas = stretchToTerminal(sigmas, terminal);
  if (Math.abs(sigmas[0] - 1) < FLOW_MARGIN) sigmas[0] -= FLOW_MARGIN;
  return sigmas;
}
