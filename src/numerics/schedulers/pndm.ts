import { roundHalfToEven } from '../rounding.ts';
import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { refuseNoise } from './step-noise.ts';
import {
  checkNextStep,
  checkStep,
  checkSteps,
  checkTimesteps,
  linearSpace,
  trailingTimesteps,
} from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'v_prediction'] as const;
const TIMESTEP_SPACINGS = ['leading', 'linspace', 'trailing'] as const;
/** Timesteps that the Runge-Kutta start spans: three steps, of four model evaluations each. */
const RUNGE_KUTTA_SPAN = 4;

/**
 * PNDM: Liu, Ren, Lin and Zhao, "Pseudo numerical methods for diffusion models on manifolds" (ICLR 2022,
 * arXiv 2202.09778), algorithm 2, as diffusers' PNDMScheduler computes it; Stable Diffusion 1.x ships with it.
 *
 * A linear multistep method of fourth order over the model's outputs (equation 12). It gets its first three either from
 * Runge-Kutta steps (equation 13; `skip_prk_steps` false: 9 evaluations more than there are steps, of which at least
 * 4), or, PLMS, from methods of lower order (true: the second timestep is asked twice, 1 evaluation more).
 */
export const pndm: SchedulerDefinition = {
  name: 'pndm',
  classNames: ['PNDMScheduler'],
  aliases: ['PLMS'],
  source: 'Liu et al. 2022, Pseudo numerical methods for diffusion models on manifolds, arXiv 2202.09778',
  usesEta: false,
  create: createPndm,
};

function createPndm(config: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'PNDMScheduler');
  const { trainTimesteps, alphasCumprod } = readNoiseSchedule(reader, { knowsZeroSnr: false });
  const predictsVelocity = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES) === 'v_prediction';
  const finalAlpha = reader.boolean('set_alpha_to_one', false) ? 1 : alphasCumprod[0];
  const startsWithRungeKutta = !reader.boolean('skip_prk_steps', false);
  const spacing = reader.choice('timestep_spacing', 'leading', TIMESTEP_SPACINGS);
  const offset = reader.integer('steps_offset', 0, 0, trainTimesteps - 1);
  checkSteps(steps, trainTimesteps);
  if (startsWithRungeKutta && steps < RUNGE_KUTTA_SPAN) {
    throw new RangeError(
      `steps is ${steps}; PNDM's Runge-Kutta start needs at least ${RUNGE_KUTTA_SPAN}. Ask for more steps, or set skip_prk_steps to true.`,
    );
  }
  const stride = Math.floor(trainTimesteps / steps);
  const half = Math.floor(stride / 2);
  const spaced = spaceTimesteps(spacing, steps, trainTimesteps, offset);
  checkTimesteps(spaced, trainTimesteps);
  const start = startsWithRungeKutta ? runge(spaced, half) : [];
  const timesteps = startsWithRungeKutta
    ? [...start, ...spaced.slice(RUNGE_KUTTA_SPAN - 1)]
    : [...spaced.slice(0, 2), ...spaced.slice(1)];
  checkNoiseLevels(timesteps, alphasCumprod, true);

  /** The latest outputs, at most four, the last one newest. */
  let outputs: Float32Array[] = [];
  /** Where the current Runge-Kutta step, or PLMS' first, began. */
  let origin = new Float32Array();
  /** The Runge-Kutta step's outputs so far, weighted. */
  let blend = new Float32Array();
  let nextStep = 0;

  /** Equation 9: x at timestep `to` from x at timestep `from` and the noise in it. */
  function transfer(latents: Float32Array, output: Float32Array, from: number, to: number): Float32Array {
    const alpha = alphasCumprod[from];
    const target = to >= 0 ? alphasCumprod[to] : finalAlpha;
    let ofLatents = Math.sqrt(target / alpha);
    let ofOutput =
      -(target - alpha) / (alpha * Math.sqrt(1 - target) + Math.sqrt(alpha * (1 - alpha) * target));
    if (predictsVelocity) {
      // eps = sqrt(a) v + sqrt(1 - a) x.
      ofLatents += ofOutput * Math.sqrt(1 - alpha);
      ofOutput *= Math.sqrt(alpha);
    }
    return latents.map((value, i) => ofLatents * value + ofOutput * output[i]);
  }

  /** Equation 13: four evaluations from one origin. */
  function stepRungeKutta(output: Float32Array, step: number, latents: Float32Array): Float32Array {
    const stage = step % 4;
    if (stage === 0) {
      origin = latents.slice();
      outputs.push(output.slice());
      blend = new Float32Array(output.length);
    }
    const weight = stage === 0 || stage === 3 ? 1 / 6 : 1 / 3;
    blend = blend.map((value, i) => value + weight * output[i]);
    // As diffusers: half a stride back from the even evaluations' timesteps, and to the odd ones' own.
    const to = timesteps[step] - (step % 2 === 0 ? half : 0);
    return transfer(origin, stage === 3 ? blend : output, start[step - stage], to);
  }

  /** Equation 12, and its lower orders until there are four outputs. */
  function stepMultistep(output: Float32Array, step: number, latents: Float32Array): Float32Array {
    const timestep = timesteps[step];
    if (!startsWithRungeKutta && step === 1) {
      // PLMS' first step once more, with the mean of the outputs at its two ends.
      const [first] = outputs;
      const mean = output.map((value, i) => (value + first[i]) / 2);
      return transfer(origin, mean, timestep + stride, timestep);
    }
    if (step === 0) origin = latents.slice();
    outputs = [...outputs.slice(-3), output.slice()];
    return transfer(latents, extrapolate(outputs), timestep, timestep - stride);
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      refuseNoise(noise, 'pndm is deterministic');
      checkNextStep(step, nextStep);
      nextStep += 1;
      return step < start.length
        ? stepRungeKutta(modelOutput, step, latents)
        : stepMultistep(modelOutput, step, latents);
    },
  };
}

/** Adams and Bashforth's weights for as many outputs as there are, newest first. */
const MULTISTEP_WEIGHTS = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

function extrapolate(outputs: readonly Float32Array[]): Float32Array {
  const weights = MULTISTEP_WEIGHTS[outputs.length - 1];
  return outputs[0].map((_, i) =>
    weights.reduce((sum, weight, age) => sum + weight * outputs[outputs.length - 1 - age][i], 0),
  );
}

/** The timesteps of three Runge-Kutta steps: each begins where the one before ended and asks its middle twice. */
function runge(spaced: readonly number[], half: number): number[] {
  return [0, 1, 2].flatMap((i) => {
    const middle = spaced[i + 1] + half;
    return [spaced[i], middle, middle, spaced[i + 1]];
  });
}

/** Table 2 of Lin et al. 2023 (arXiv 2305.08891), rounded as diffusers' PNDM rounds. */
function spaceTimesteps(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(trainTimesteps, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(trainTimesteps / steps);
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride + offset);
  }
  return linearSpace(0, trainTimesteps - 1, steps)
    .map(roundHalfToEven)
    .reverse();
}
