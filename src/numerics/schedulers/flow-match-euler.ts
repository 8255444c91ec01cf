import { type ConfigReader, readConfig } from './config.ts';
import { readDynamicShift, readTerminal, shiftSigma, stretchToTerminal } from './flow-shift.ts';
import type { Scheduler, SchedulerConfig, SchedulerDefinition, SchedulerOptions } from './scheduler.ts';
import { readSigmaRange, readSigmaSpacing, spaceExponentially, spaceKarras } from './sigmas.ts';
import { checkNoise, checkStep, checkSteps, rejectNoise } from './step-checks.ts';
import { linspace } from './timesteps.ts';

/**
 * Euler's method for rectified flows: Lipman et al. 2023, "Flow matching for generative modeling"
 * (arXiv 2210.02747), and Esser et al. 2024, "Scaling rectified flow transformers" (Stable
 * Diffusion 3, arXiv 2403.03206), as diffusers' FlowMatchEulerDiscreteScheduler computes it.
 * Latents are x = (1 - sigma) x_0 + sigma eps; the model predicts v = eps - x_0 at the fractional
 * timestep `num_train_timesteps` * sigma.
 *
 * All options of diffusers' class are supported except `use_beta_sigmas` (an error). The levels are
 * spaced as in the pipelines (option `flowSpacing`), then shifted towards noise by `shift`, or with
 * `use_dynamic_shifting` by the picture's size (`imageSequenceLength`). With `stochastic_sampling`
 * every step goes to x_0 and adds new noise.
 */
export const flowMatchEuler: SchedulerDefinition = {
  name: 'flow-match-euler',
  classNames: ['FlowMatchEulerDiscreteScheduler'],
  aliases: ['Flow Match Euler Discrete', 'Rectified Flow'],
  source: 'Esser et al. 2024, Scaling rectified flow transformers, arXiv 2403.03206',
  usesEta: false,
  create: createFlowMatchEuler,
};

function createFlowMatchEuler(schedulerConfig: SchedulerConfig, options: SchedulerOptions): Scheduler {
  const config = readConfig(schedulerConfig, 'FlowMatchEulerDiscreteScheduler', 'flow-matching');
  const numTrainTimesteps = config.integer('num_train_timesteps', 1000, 1, 1_000_000);
  const stochasticSampling = config.boolean('stochastic_sampling', false);
  const invertSigmas = config.boolean('invert_sigmas', false);
  checkSteps(options.steps, numTrainTimesteps);
  const spaced = spaceSigmas(config, options, numTrainTimesteps);
  // Models such as Mochi count from picture to noise, so their steps go along 1 - sigma.
  const sigmas = invertSigmas
    ? Float32Array.of(...spaced.map((sigma) => 1 - sigma), 1)
    : Float32Array.of(...spaced, 0);
  const timesteps = Array.from(sigmas.subarray(0, -1), (sigma) => Math.fround(sigma * numTrainTimesteps));

  return {
    timesteps,
    initNoiseSigma: 1,
    stochastic: stochasticSampling,
    scaleModelInput: (latents) => latents,
    step(modelOutput, step, latents, noise, into = new Float32Array(latents.length)) {
      checkStep(step, timesteps, modelOutput, latents, into);
      const [sigma, nextSigma] = [sigmas[step], sigmas[step + 1]];
      if (!stochasticSampling) {
        rejectNoise(noise, 'flow-match-euler is deterministic');
        // dx / dsigma = v.
        const dt = nextSigma - sigma;
        for (let i = 0; i < into.length; i++) into[i] = latents[i] + dt * modelOutput[i];
        return into;
      }
      checkNoise(noise, latents, 'stochastic_sampling is true');
      // x_0 = x - sigma v, then noise up to the next level.
      for (let i = 0; i < into.length; i++)
        into[i] = (1 - nextSigma) * (latents[i] - sigma * modelOutput[i]) + nextSigma * noise[i];
      return into;
    },
  };
}

/** `steps` levels in float32 that fall from (about) 1, without the final 0. */
function spaceSigmas(
  config: ConfigReader,
  { steps, imageSequenceLength, flowSpacing }: SchedulerOptions,
  numTrainTimesteps: number,
): Float32Array {
  const fixedShift = config.positiveOrNull('shift') ?? 1;
  const useDynamicShifting = config.boolean('use_dynamic_shifting', false);
  const spacing = flowSpacing ?? (useDynamicShifting || fixedShift === 1 ? 'unit' : 'trained');
  const shift = useDynamicShifting ? readDynamicShift(config, imageSequenceLength) : fixedShift;

  let smallest = 1 / steps;
  if (spacing === 'trained') {
    // diffusers shifts the trained levels by a fixed shift, and then the levels between these once
    // more.
    smallest = useDynamicShifting ? 1 / numTrainTimesteps : shiftSigma(1 / numTrainTimesteps, fixedShift);
  }
  let sigmas = linspace(1, smallest, steps).map((sigma) => shiftSigma(sigma, shift));
  const terminal = readTerminal(config);
  if (terminal !== null) sigmas = stretchToTerminal(sigmas, terminal);

  const rule = readSigmaSpacing(config, { flowSpacings: ['flow', 'karras', 'exponential'] });
  if (rule === 'karras' || rule === 'exponential') {
    const range = readSigmaRange(config, Float32Array.of(sigmas[steps - 1], sigmas[0]), steps);
    sigmas = (rule === 'karras' ? spaceKarras : spaceExponentially)(range, steps);
  }
  return Float32Array.from(sigmas);
}
