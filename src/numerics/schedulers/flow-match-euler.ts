import { type ConfigReader, readConfig } from './config.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { exponentialSigmas, karrasSigmas, readSigmaSpacing } from './sigmas.ts';
import { checkNoise, checkStep, checkSteps } from './timesteps.ts';

/**
 * Euler's method on a rectified flow, x_t = (1 - sigma) x_0 + sigma noise, whose model predicts noise - x_0: Esser et al., "Scaling
 * rectified flow transformers for high-resolution image synthesis" (arXiv 2403.03206), section 2 and, for the shift of
 * the noise levels with the size of the picture, equation (23); as diffusers' FlowMatchEulerDiscreteScheduler computes it.
 */
export const flowMatchEuler: SchedulerDefinition = {
  name: 'flow-match-euler',
  classNames: ['FlowMatchEulerDiscreteScheduler'],
  aliases: ['flow_match_euler_discrete', 'Flow Match Euler'],
  source: 'Esser et al. 2024, Scaling rectified flow transformers, arXiv 2403.03206',
  usesEta: false,
  create: createFlowMatchEuler,
};

function createFlowMatchEuler(config: SchedulerConfig, options: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'FlowMatchEulerDiscreteScheduler');
  const trainTimesteps = reader.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const stochastic = reader.boolean('stochastic_sampling', false);
  const inverts = reader.boolean('invert_sigmas', false);
  checkSteps(options.steps, trainTimesteps);
  const falling = Float32Array.from(spaceSigmas(reader, trainTimesteps, options));
  const levels = Float32Array.of(...(inverts ? falling.map((sigma) => 1 - sigma) : falling), inverts ? 1 : 0);
  const timesteps = [...levels.subarray(0, falling.length)].map((sigma) => Math.fround(sigma * trainTimesteps));

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      checkNoise(noise, latents.length, stochastic, `stochastic_sampling is ${stochastic}`);
      const { [step]: sigma, [step + 1]: next } = levels;
      if (noise) return latents.map((value, i) => (1 - next) * (value - sigma * modelOutput[i]) + next * noise[i]);
      return latents.map((value, i) => value + (next - sigma) * modelOutput[i]);
    },
  };
}

/** Noise levels from 1 down, after every shift that the config asks for; the last step ends at 0. */
function spaceSigmas(
  reader: ConfigReader,
  trainTimesteps: number,
  { steps, imageSequenceLength, sigmas: wanted }: SchedulerOptions,
): number[] {
  const isDynamic = reader.boolean('use_dynamic_shifting', false);
  const fixed = reader.number('shift', 1, 0, Number.MAX_VALUE);
  const isExponential = reader.choice('time_shift_type', 'exponential', ['exponential', 'linear']) === 'exponential';
  const terminal = reader.positiveOrNull('shift_terminal');
  const mu = isDynamic ? readMu(reader, imageSequenceLength) : 0;
  // Equation (23); with `exponential` the ratio of the two sizes' resolution is exp(mu).
  const ratio = isDynamic ? (isExponential ? Math.exp(mu) : mu) : fixed;
  const shift = (sigma: number) => (ratio * sigma) / (1 + (ratio - 1) * sigma);

  // The levels that the model was trained on end at 1 / trainTimesteps, shifted.
  const last = isDynamic ? 1 / trainTimesteps : shift(1 / trainTimesteps);
  const spaced =
    wanted ?? Array.from({ length: steps }, (_, i) => (steps === 1 ? 1 : 1 + (i / (steps - 1)) * (last - 1)));
  let sigmas = spaced.map(shift);
  if (terminal !== null) {
    const scale = (1 - sigmas[sigmas.length - 1]) / (1 - terminal);
    if (scale === 0)
      throw new RangeError('shift_terminal of the scheduler config needs 2 steps or more, one that ends below 1.');
    sigmas = sigmas.map((sigma) => 1 - (1 - sigma) / scale);
  }
  const spacing = readSigmaSpacing(reader);
  if (spacing === null) return sigmas;
  return (spacing === 'karras' ? karrasSigmas : exponentialSigmas)(sigmas[0], sigmas[sigmas.length - 1], steps);
}

/** mu for a picture of so many tokens: linear between two sizes (diffusers' calculate_shift, in the pipelines of FLUX.1 and SD 3). */
function readMu(reader: ConfigReader, imageSequenceLength: number | undefined): number {
  if (imageSequenceLength === undefined) {
    throw new Error(
      "use_dynamic_shifting of the scheduler config needs the number of the picture's tokens, which this model has not.",
    );
  }
  const baseLength = reader.integer('base_image_seq_len', 256, 1, 1_000_000);
  const maxLength = reader.integer('max_image_seq_len', 4096, 1, 1_000_000);
  const base = reader.number('base_shift', 0.5, 0, 100);
  const max = reader.number('max_shift', 1.15, 0, 100);
  if (maxLength === baseLength)
    throw new Error(
      `base_image_seq_len and max_image_seq_len of the scheduler config are both ${baseLength}; they have to differ.`,
    );
  const slope = (max - base) / (maxLength - baseLength);
  return slope * (imageSequenceLength - baseLength) + base;
}
