import { createScratch, History, weightedSum } from './arrays.ts';
import { readConfig } from './config.ts';
import { checkNoiseLevels, readNoiseSchedule } from './noise-schedule.ts';
import { combine } from './prediction.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { checkNextStep, checkStep, checkSteps, checkTimesteps, rejectNoise } from './step-checks.ts';
import { readTimestepSpacing, spaceTimesteps } from './timesteps.ts';

const PREDICTION_TYPES = ['epsilon', 'v_prediction'] as const;
/** Timesteps that the Runge-Kutta start spans: three steps of four model evaluations each. */
const RUNGE_KUTTA_TIMESTEPS = 4;

/**
 * PNDM: Liu, Ren, Lin and Zhao, "Pseudo numerical methods for diffusion models on manifolds" (ICLR
 * 2022, arXiv 2202.09778), algorithm 2, as diffusers' PNDMScheduler computes it. Stable Diffusion
 * 1.x comes with it.
 *
 * It is a linear multistep method of fourth order over the model's outputs (equation 12), which
 * needs three outputs to start. With `skip_prk_steps` false they come from Runge-Kutta steps
 * (equation 13): 9 evaluations more than steps, at least 4 steps. With `skip_prk_steps` true (PLMS)
 * methods of lower order start: the second timestep is evaluated twice, 1 evaluation more than
 * steps.
 */
export const pndm: SchedulerDefinition = {
  name: 'pndm',
  classNames: ['PNDMScheduler'],
  aliases: ['PLMS'],
  source: 'Liu et al. 2022, Pseudo numerical methods for diffusion models on manifolds, arXiv 2202.09778',
  usesEta: false,
  create: createPndm,
};

function createPndm(schedulerConfig: SchedulerConfig, { steps }: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'PNDMScheduler');
  const { numTrainTimesteps, alphasCumprod } = readNoiseSchedule(config, { hasZeroSnr: false });
  const predictionType = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  const finalAlphaCumprod = config.boolean('set_alpha_to_one', false) ? 1 : alphasCumprod[0];
  const skipPrkSteps = config.boolean('skip_prk_steps', false);
  const spacing = readTimestepSpacing(config, numTrainTimesteps, 'leading');
  checkSteps(steps, numTrainTimesteps);
  if (!skipPrkSteps && steps < RUNGE_KUTTA_TIMESTEPS) {
    throw new RangeError(
      `steps is ${steps}; the Runge-Kutta start of PNDM needs at least ${RUNGE_KUTTA_TIMESTEPS}. ` +
        'Request more steps, or set skip_prk_steps to true.',
    );
  }
  const stride = Math.floor(numTrainTimesteps / steps);
  const halfStride = Math.floor(stride / 2);
  const spaced = spaceTimesteps(spacing, steps, numTrainTimesteps);
  checkTimesteps(spaced, numTrainTimesteps);
  const prkTimesteps = skipPrkSteps ? [] : rungeKuttaTimesteps(spaced, halfStride);
  const timesteps = skipPrkSteps
    ? [...spaced.slice(0, 2), ...spaced.slice(1)]
    : [...prkTimesteps, ...spaced.slice(RUNGE_KUTTA_TIMESTEPS - 1)];
  checkNoiseLevels(timesteps, alphasCumprod, true);

  const outputs = new History(ADAMS_BASHFORTH_WEIGHTS.length);
  /** The latents at the start of the current Runge-Kutta step, or of PLMS' first step. */
  const originArray = createScratch();
  /** Weighted sum of the outputs of the current Runge-Kutta step. */
  const blendedArray = createScratch();
  let nextStep = 0;

  /**
   * Equation 9: x at timestep `to` from x at timestep `from` and the noise in it, which `into` may
   * hold.
   */
  function transfer(
    latents: Float32Array,
    modelOutput: Float32Array,
    from: number,
    to: number,
    into: Float32Array,
  ): Float32Array {
    const alphaProdT = alphasCumprod[from];
    const alphaProdTPrev = to >= 0 ? alphasCumprod[to] : finalAlphaCumprod;
    let ofLatents = Math.sqrt(alphaProdTPrev / alphaProdT);
    let ofOutput =
      -(alphaProdTPrev - alphaProdT) /
      (alphaProdT * Math.sqrt(1 - alphaProdTPrev) +
        Math.sqrt(alphaProdT * (1 - alphaProdT) * alphaProdTPrev));
    if (predictionType === 'v_prediction') {
      // eps = sqrt(a) v + sqrt(1 - a) x.
      ofLatents += ofOutput * Math.sqrt(1 - alphaProdT);
      ofOutput *= Math.sqrt(alphaProdT);
    }
    return combine([ofLatents, ofOutput], latents, modelOutput, into);
  }

  /** Stores a copy of an output. */
  function remember(modelOutput: Float32Array): void {
    outputs.next(modelOutput.length).set(modelOutput);
    outputs.push();
  }

  /** Equation 13: four evaluations from one origin. */
  function stepPrk(
    modelOutput: Float32Array,
    step: number,
    latents: Float32Array,
    into: Float32Array,
  ): Float32Array {
    const stage = step % 4;
    const [origin, blended] = [originArray(latents.length), blendedArray(latents.length)];
    if (stage === 0) {
      origin.set(latents);
      remember(modelOutput);
      blended.fill(0);
    }
    const weight = stage === 0 || stage === 3 ? 1 / 6 : 1 / 3;
    for (let i = 0; i < blended.length; i++) blended[i] += weight * modelOutput[i];
    // As diffusers: half a stride back from an even evaluation's timestep, and to an odd one's own.
    const to = timesteps[step] - (step % 2 === 0 ? halfStride : 0);
    return transfer(origin, stage === 3 ? blended : modelOutput, prkTimesteps[step - stage], to, into);
  }

  /** Equation 12, and its lower orders as long as there are fewer than four outputs. */
  function stepPlms(
    modelOutput: Float32Array,
    step: number,
    latents: Float32Array,
    into: Float32Array,
  ): Float32Array {
    const origin = originArray(latents.length);
    const timestep = timesteps[step];
    if (skipPrkSteps && step === 1) {
      // PLMS repeats its first step with the mean of the outputs at both ends.
      const [first] = outputs.latest;
      for (let i = 0; i < into.length; i++) into[i] = (modelOutput[i] + first[i]) / 2;
      return transfer(origin, into, timestep + stride, timestep, into);
    }
    if (step === 0) origin.set(latents);
    remember(modelOutput);
    const weights = ADAMS_BASHFORTH_WEIGHTS[outputs.latest.length - 1];
    const extrapolated = weightedSum(weights, outputs.latest, into);
    return transfer(latents, extrapolated, timestep, timestep - stride, into);
  }

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: false,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      rejectNoise(noise, 'pndm is deterministic');
      checkNextStep(step, nextStep);
      nextStep += 1;
      return step < prkTimesteps.length
        ? stepPrk(modelOutput, step, latents, into)
        : stepPlms(modelOutput, step, latents, into);
    },
  };
}

/** The weights of Adams and Bashforth for one to four outputs, the newest first. */
const ADAMS_BASHFORTH_WEIGHTS = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

/**
 * The timesteps of three Runge-Kutta steps. Each step starts where the one before ended and
 * evaluates its middle twice.
 */
function rungeKuttaTimesteps(spaced: readonly number[], halfStride: number): number[] {
  return [0, 1, 2].flatMap((i) => {
    const middle = spaced[i + 1] + halfStride;
    return [spaced[i], middle, middle, spaced[i + 1]];
  });
}
