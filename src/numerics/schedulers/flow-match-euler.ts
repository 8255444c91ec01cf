import { type ConfigReader, readConfig } from './config.ts';
import { readDynamicShift, readTerminal, shiftLevel, stretchToTerminal } from './flow-shift.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { readLevelSpacing, readRange, spaceExponentially, spaceKarras } from './sigma-spacing.ts';
import { checkNoise, refuseNoise } from './step-noise.ts';
import { checkStep, checkSteps, linearSpace } from './timesteps.ts';

/**
 * Euler's method for rectified flows: Lipman et al. 2023, "Flow matching for generative modeling" (arXiv 2210.02747),
 * and Esser et al. 2024, "Scaling rectified flow transformers" (Stable Diffusion 3, arXiv 2403.03206), as diffusers'
 * FlowMatchEulerDiscreteScheduler computes it. Latents are x = (1 - sigma) x_0 + sigma eps; the model predicts
 * v = eps - x_0 and is asked at `num_train_timesteps` sigma, which is a fraction.
 *
 * Every option of diffusers' class is there but `use_beta_sigmas` (an error). The levels are spaced as the pipelines do
 * (option `flowSpacing`), then shifted towards noise by `shift`, or by the picture's size (`imageSequenceLength`) with
 * `use_dynamic_shifting`. `stochastic_sampling` goes to x_0 and back with fresh noise at every step.
 */
export const flowMatchEuler: SchedulerDefinition = {
  name: 'flow-match-euler',
  classNames: ['FlowMatchEulerDiscreteScheduler'],
  aliases: ['Flow Match Euler Discrete', 'Rectified Flow'],
  source: 'Esser et al. 2024, Scaling rectified flow transformers, arXiv 2403.03206',
  usesEta: false,
  create: createFlowMatchEuler,
};

function createFlowMatchEuler(config: SchedulerConfig, options: SchedulerOptions): Scheduler {
  const reader = readConfig(config, 'FlowMatchEulerDiscreteScheduler', 'flow-matching');
  const trainTimesteps = reader.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const stochastic = reader.boolean('stochastic_sampling', false);
  const isInverted = reader.boolean('invert_sigmas', false);
  checkSteps(options.steps, trainTimesteps);
  const spaced = spaceLevels(reader, options, trainTimesteps);
  // Models such as Mochi count from picture to noise, and are stepped along 1 - sigma.
  const levels = isInverted
    ? Float32Array.of(...spaced.map((level) => 1 - level), 1)
    : Float32Array.of(...spaced, 0);
  const timesteps = Array.from(levels.subarray(0, -1), (level) => Math.fround(level * trainTimesteps));

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise) {
      checkStep(step, timesteps, modelOutput, latents);
      const [level, target] = [levels[step], levels[step + 1]];
      if (!stochastic) {
        refuseNoise(noise, 'flow-match-euler is deterministic');
        // dx / dsigma = v.
        return latents.map((value, i) => value + (target - level) * modelOutput[i]);
      }
      checkNoise(noise, latents, 'stochastic_sampling is true');
      return latents.map((value, i) => (1 - target) * (value - level * modelOutput[i]) + target * noise[i]);
    },
  };
}

/** `steps` levels in float32, falling from (near) 1, without the 0 at the end. */
function spaceLevels(
  reader: ConfigReader,
  { steps, imageSequenceLength, flowSpacing }: SchedulerOptions,
  trainTimesteps: number,
): Float32Array {
  const fixed = reader.positiveOrNull('shift') ?? 1;
  const isDynamic = reader.boolean('use_dynamic_shifting', false);
  const spacing = flowSpacing ?? (isDynamic || fixed === 1 ? 'unit' : 'trained');
  const shift = isDynamic ? readDynamicShift(reader, imageSequenceLength) : fixed;

  let smallest = 1 / steps;
  if (spacing === 'trained') {
    // The class shifts the trained levels by a fixed shift, and what lies between them once more.
    smallest = isDynamic ? 1 / trainTimesteps : shiftLevel(1 / trainTimesteps, fixed);
  }
  let levels = linearSpace(1, smallest, steps).map((level) => shiftLevel(level, shift));
  const terminal = readTerminal(reader);
  if (terminal !== null) levels = stretchToTerminal(levels, terminal);

  const kind = readLevelSpacing(reader, false, ['flow', 'karras', 'exponential']);
  if (kind === 'karras' || kind === 'exponential') {
    const [largest, smallest] = readRange(reader, Float32Array.of(levels[steps - 1], levels[0]), steps);
    levels = (kind === 'karras' ? spaceKarras : spaceExponentially)(largest, smallest, steps);
  }
  return Float32Array.from(levels);
}
