import { roundHalfToEven } from '../rounding.ts';
import { readConfig } from './config.ts';
import { readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { exponentialSigmas, karrasSigmas, readSigmaSpacing, timestepAt, trainingSigmas } from './sigmas.ts';
import { readLimit } from './threshold.ts';
import { checkNoise, checkOrder, checkStep, checkSteps, checkTimesteps, multistepTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/**
 * UniPC: Zhao et al., "UniPC: a unified predictor-corrector framework for fast sampling of diffusion models" (NeurIPS 2023, arXiv
 * 2302.04867), algorithms 1 and 2 with B(h) = h (bh1) or e^h - 1 (bh2), orders 1 to 3, as diffusers' UniPCMultistepScheduler
 * computes it. Each evaluation first corrects the step that led to it, then predicts the next.
 */
export const unipc: SchedulerDefinition = {
  name: 'unipc',
  classNames: ['UniPCMultistepScheduler'],
  aliases: ['UniPC', 'uni_pc', 'uni_pc_bh2', 'unipc_multistep'],
  source: 'Zhao et al. 2023, UniPC, arXiv 2302.04867',
  usesEta: false,
  create: createUnipc,
};

/** alpha, sigma and lambda = log(alpha / sigma) at one noise level. */
interface Level {
  readonly alpha: number;
  readonly sigma: number;
  readonly lambda: number;
}

function createUnipc(config: SchedulerConfig, { steps, sampleLength }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'UniPCMultistepScheduler');
  const schedule = readNoiseSchedule(reader);
  for (const key of ['use_flow_sigmas', 'use_dynamic_shifting', 'solver_p']) reader.refuse(key);
  // The names that the sister classes use for this choice are taken for bh2, as diffusers does.
  const isBh1 = reader.choice('solver_type', 'bh2', ['bh2', 'bh1', 'midpoint', 'heun', 'logrho']) === 'bh1';
  const order = reader.integer('solver_order', 2, 1, 3);
  const predictsClean = reader.boolean('predict_x0', true);
  const predictionType = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const lowerOrderFinal = reader.boolean('lower_order_final', true);
  const uncorrected = new Set(reader.integers('disable_corrector'));
  const limit = readLimit(reader, null);
  const endsAtZero = reader.choice('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero';
  const { timesteps, sigmas } = spaceSteps();
  const levels = [...Float32Array.from(sigmas)].map(levelOf);
  const count = timesteps.length;
  if (!predictsClean && endsAtZero)
    throw new Error(
      'predict_x0 of the scheduler config is false, which can\'t end at noise level 0; set final_sigmas_type to "sigma_min".',
    );
  if (!lowerOrderFinal && endsAtZero && order > 1 && count > 1)
    throw new Error(
      'lower_order_final of the scheduler config is false, which can\'t end at noise level 0; set final_sigmas_type to "sigma_min".',
    );

  function spaceSteps(): { readonly timesteps: number[]; readonly sigmas: number[] } {
    const { trainTimesteps } = schedule;
    const spacing = reader.choice('timestep_spacing', 'linspace', TIMESTEP_SPACINGS);
    const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
    checkSteps(steps, trainTimesteps);
    const trainSigmas = trainingSigmas(schedule);
    const special = readSigmaSpacing(reader);
    if (special === null) {
      const timesteps = multistepTimesteps(spacing, steps, trainTimesteps, trainTimesteps, offset);
      checkTimesteps(timesteps, trainTimesteps);
      return { timesteps, sigmas: [...timesteps.map((t) => trainSigmas[t]), endsAtZero ? 0 : trainSigmas[0]] };
    }
    const largest = reader.positiveOrNull('sigma_max') ?? trainSigmas[trainTimesteps - 1];
    const smallest = reader.positiveOrNull('sigma_min') ?? trainSigmas[0];
    const sigmas = (special === 'karras' ? karrasSigmas : exponentialSigmas)(largest, smallest, steps);
    const timesteps = sigmas.map((sigma) => timestepAt(sigma, trainSigmas));
    return {
      timesteps: timesteps.map(special === 'karras' ? roundHalfToEven : Math.floor),
      sigmas: [...sigmas, endsAtZero ? 0 : sigmas[steps - 1]],
    };
  }

  /** What the method integrates, x_0 or epsilon, from the model's output. */
  function convert(output: Float32Array, latents: Float32Array, { alpha, sigma }: Level): Float32Array {
    let [ofLatents, ofOutput] = [0, 1];
    if (predictsClean) {
      if (predictionType === 'epsilon') [ofLatents, ofOutput] = [1 / alpha, -sigma / alpha];
      else if (predictionType === 'v_prediction') [ofLatents, ofOutput] = [alpha, -sigma];
    } else if (predictionType === 'sample') [ofLatents, ofOutput] = [1 / sigma, -alpha / sigma];
    else if (predictionType === 'v_prediction') [ofLatents, ofOutput] = [sigma, alpha];
    const converted = latents.map((value, i) => ofLatents * value + ofOutput * output[i]);
    if (predictsClean) limit(converted, sampleLength);
    return converted;
  }

  /**
   * From one level to the next, by the outputs at that level and before it (newest first) and, when it corrects, at the next level too.
   * @param stepOrder of the method
   */
  function advance(
    latents: Float32Array,
    { from, to }: { readonly from: number; readonly to: number },
    outputs: readonly Float32Array[],
    stepOrder: number,
    corrected: Float32Array | null,
  ): Float32Array {
    const [source, target] = [levels[from], levels[to]];
    const h = target.lambda - source.lambda;
    const hh = predictsClean ? -h : h;
    const expm1 = Math.expm1(hh);
    const scale = predictsClean ? target.alpha : target.sigma;
    const ofLatents = predictsClean ? target.sigma / source.sigma : target.alpha / source.alpha;
    const [newest] = outputs;
    const next = latents.map((value, i) => ofLatents * value - scale * expm1 * newest[i]);
    if (stepOrder === 1 && !corrected) return next;

    // Differences D_m / r_m at earlier levels (r = 1 is the next level itself), weighted by rho of R(h) rho = b(h), equation (5).
    const ratios = Array.from({ length: stepOrder - 1 }, (_, i) => (levels[from - 1 - i].lambda - source.lambda) / h);
    const b = rightSide(hh, stepOrder, isBh1 ? hh : expm1);
    const rho = corrected
      ? stepOrder === 1
        ? [0.5]
        : solve([...ratios, 1], b)
      : stepOrder === 2
        ? [0.5]
        : solve(ratios, b.slice(0, -1));
    const factor = -scale * (isBh1 ? hh : expm1);
    for (const [m, ratio] of ratios.entries()) {
      const weight = (factor * rho[m]) / ratio;
      for (let i = 0; i < next.length; i++) next[i] += weight * (outputs[m + 1][i] - newest[i]);
    }
    if (corrected) {
      const weight = factor * rho[rho.length - 1];
      for (let i = 0; i < next.length; i++) next[i] += weight * (corrected[i] - newest[i]);
    }
    return next;
  }

  /** Outputs at the last levels, newest first. */
  let outputs: Float32Array[] = [];
  let lastLatents: Float32Array | null = null;
  let lastOrder = 1;
  let nextStep = 0;

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, false, 'unipc is deterministic');
      checkOrder(step, nextStep);
      nextStep += 1;
      const converted = convert(modelOutput, latents, levels[step]);
      let current: Float32Array = latents.slice();
      if (lastLatents && !uncorrected.has(step - 1)) {
        current = advance(lastLatents, { from: step - 1, to: step }, outputs, lastOrder, converted);
      }
      outputs = [converted, ...outputs].slice(0, order);
      lastOrder = Math.min(order, step + 1, lowerOrderFinal ? count - step : order);
      lastLatents = current;
      return advance(current, { from: step, to: step + 1 }, outputs, lastOrder, null);
    },
  };
}

function levelOf(level: number): Level {
  const alpha = 1 / Math.sqrt(level * level + 1);
  return { alpha, sigma: level * alpha, lambda: -Math.log(level) };
}

/** b(h) of equation (5): b_m = m! h phi_{m+1}(h) / B(h). */
function rightSide(hh: number, order: number, bh: number): number[] {
  const b: number[] = [];
  let factorial = 1;
  let phi = Math.expm1(hh) / hh - 1;
  for (let m = 1; m <= order; m++) {
    b.push((phi * factorial) / bh);
    factorial *= m + 1;
    phi = phi / hh - 1 / factorial;
  }
  return b;
}

/** rho of sum_k ratios[k]^(m-1) rho_k = b_m: a Vandermonde system of up to 3 unknowns, by elimination with pivots. */
function solve(ratios: readonly number[], b: readonly number[]): number[] {
  const n = ratios.length;
  const rows = b.map((value, m) => [...ratios.map((ratio) => ratio ** m), value]);
  for (let column = 0; column < n; column++) {
    const pivot = rows
      .slice(column)
      .reduce((best, row) => (Math.abs(row[column]) > Math.abs(best[column]) ? row : best));
    rows.splice(rows.indexOf(pivot), 1);
    rows.splice(column, 0, pivot);
    for (const row of rows.slice(column + 1)) {
      const share = row[column] / pivot[column];
      for (let k = column; k <= n; k++) row[k] -= share * pivot[k];
    }
  }
  const rho = new Array<number>(n).fill(0);
  for (let k = n - 1; k >= 0; k--) {
    const known = rho.reduce((sum, value, j) => sum + (j > k ? rows[k][j] * value : 0), 0);
    rho[k] = (rows[k][n] - known) / rows[k][k];
  }
  return rho;
}
