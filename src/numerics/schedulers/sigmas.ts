import { type ConfigReader, overrideConfig } from './config.ts';
import type { SchedulerDefinition } from './scheduler.ts';
import { linspace } from './timesteps.ts';

/** Where noise levels come from: the spaced timesteps, or a rule that ignores these. */
export type SigmaSpacing = 'timesteps' | 'karras' | 'lu' | 'exponential' | 'flow';

/**
 * Reads `use_karras_sigmas`, `use_lu_lambdas`, `use_exponential_sigmas` and `use_flow_sigmas`; the
 * first one that is true decides.
 *
 * @param options.hasLu whether the class has `use_lu_lambdas`; if not, the key is ignored
 * @param options.flowSpacings spacings that the class supports together with `use_flow_sigmas`;
 *   without them the class does not have that key, and it is ignored
 * @throws Error for `use_beta_sigmas`, for Karras' and exponential levels together, and for a
 *   spacing that the class does not support for flows
 */
export function readSigmaSpacing(
  config: ConfigReader,
  options: { readonly hasLu?: boolean; readonly flowSpacings?: readonly SigmaSpacing[] } = {},
): SigmaSpacing {
  const { hasLu = false, flowSpacings = null } = options;
  config.requireFalse('use_beta_sigmas');
  const usesKarras = config.boolean('use_karras_sigmas', false);
  const usesExponential = config.boolean('use_exponential_sigmas', false);
  if (usesKarras && usesExponential) {
    throw new Error(
      'The scheduler config sets use_karras_sigmas and use_exponential_sigmas; only one can be true.',
    );
  }
  const usesLu = hasLu && config.boolean('use_lu_lambdas', false);
  const usesFlow = flowSpacings !== null && config.boolean('use_flow_sigmas', false);
  let spacing: SigmaSpacing = usesFlow ? 'flow' : 'timesteps';
  if (usesKarras) spacing = 'karras';
  else if (usesLu) spacing = 'lu';
  else if (usesExponential) spacing = 'exponential';
  if (usesFlow && !flowSpacings.includes(spacing)) {
    throw new Error(
      `The scheduler config sets use_flow_sigmas and ${spacing} levels; these rise above 1, which a flow ` +
        'does not have. Set only one of use_karras_sigmas, use_exponential_sigmas, use_lu_lambdas and ' +
        'use_flow_sigmas.',
    );
  }
  return spacing;
}

/**
 * The scheduler `<name>-karras`: `definition` on Karras' noise levels, in place of those of the
 * config.
 */
export function withKarrasSigmas(
  definition: SchedulerDefinition,
  aliases: readonly string[],
): SchedulerDefinition {
  const karras = { use_karras_sigmas: true, use_exponential_sigmas: false, use_beta_sigmas: false };
  return {
    ...definition,
    name: `${definition.name}-karras`,
    classNames: [],
    aliases,
    create: (config, options) => definition.create(overrideConfig(config, karras), options),
  };
}

/** The range of noise levels, with `sigmaMax` first as all levels fall. */
export type SigmaRange = readonly [sigmaMax: number, sigmaMin: number];

/**
 * Reads `sigma_max` and `sigma_min`; values that are missing come from the rising `trained` levels.
 *
 * @throws Error unless sigma_max is above sigma_min; with a single step both may be equal
 */
export function readSigmaRange(config: ConfigReader, trained: Float32Array, steps: number): SigmaRange {
  const sigmaMax = config.positiveOrNull('sigma_max') ?? trained[trained.length - 1];
  const sigmaMin = config.positiveOrNull('sigma_min') ?? trained[0];
  if (sigmaMin > sigmaMax || (sigmaMin === sigmaMax && steps > 1)) {
    throw new Error(
      `The noise levels of the scheduler config end at sigma_min = ${sigmaMin}, which must be below their ` +
        `start, sigma_max = ${sigmaMax}. Values that the config does not set come from the trained levels.`,
    );
  }
  return [sigmaMax, sigmaMin];
}

/** Karras et al. 2022 (arXiv 2206.00364), equation 5 with rho = 7: `steps` levels, falling. */
export function spaceKarras([sigmaMax, sigmaMin]: SigmaRange, steps: number): number[] {
  const [from, to] = [sigmaMax ** (1 / 7), sigmaMin ** (1 / 7)];
  return linspace(0, 1, steps).map((ramp) => (from + ramp * (to - from)) ** 7);
}

/** `steps` levels that fall evenly in log(sigma). */
export function spaceExponentially([sigmaMax, sigmaMin]: SigmaRange, steps: number): number[] {
  return linspace(Math.log(sigmaMax), Math.log(sigmaMin), steps).map(Math.exp);
}

/**
 * Lu et al. 2022 (arXiv 2206.00927): `steps` levels from the last trained one to the first, evenly
 * in lambda = -log(sigma).
 */
export function spaceInLambda(trained: Float32Array, steps: number): number[] {
  // Equal to `spaceExponentially` except for the last bits, which decide on which side of the last
  // timestep the first level lies.
  const [from, to] = [trained[trained.length - 1], trained[0]].map((sigma) => Math.fround(Math.log(sigma)));
  return linspace(0, 1, steps).map((ramp) => Math.exp(from + ramp * (to - from)));
}

/** The noise level at a timestep that may lie between trained ones, linear in sigma. */
export function sigmaAt(timestep: number, trained: Float32Array): number {
  const low = Math.floor(timestep);
  const high = Math.min(low + 1, trained.length - 1);
  return trained[low] + (timestep - low) * (trained[high] - trained[low]);
}

/**
 * Locates a noise level between the trained ones, linear in log(sigma): diffusers' `_sigma_to_t`.
 *
 * @param trained the levels of the trained timesteps, rising
 * @returns the lower neighbour's timestep, and the distance from it as a share in [0, 1]
 */
export function locateSigma(sigma: number, trained: Float32Array): [low: number, share: number] {
  let low = 0;
  while (low < trained.length - 2 && trained[low + 1] <= sigma) low += 1;
  // In float32 as in diffusers: the last bit shows in timesteps that are truncated to integers.
  const [from, to] = [Math.fround(Math.log(trained[low])), Math.fround(Math.log(trained[low + 1]))];
  return [low, Math.min(1, Math.max(0, (from - Math.log(sigma)) / (from - to)))];
}

/** The timestep of a noise level, not rounded, as the multistep solvers compute it. */
export function timestepOf(sigma: number, trained: Float32Array): number {
  const [low, share] = locateSigma(sigma, trained);
  return (1 - share) * low + share * (low + 1);
}

/**
 * Checks that a step is possible from every noise level except the last, which only ends a step.
 *
 * @param isFlow whether the levels are those of a flow, whose pure noise has the level 1 rather
 *   than infinity
 * @throws Error for a level outside (0, 1) or (0, infinity)
 */
export function checkSigmas(sigmas: Float32Array, isFlow: boolean): void {
  const limit = isFlow ? 1 : Number.POSITIVE_INFINITY;
  const unusable = sigmas.subarray(0, -1).find((sigma) => !(sigma > 0 && sigma < limit));
  if (unusable === undefined) return;
  throw new Error(
    `The scheduler config leads to the noise level ${unusable}; it must lie between 0 and ${limit}. ` +
      (isFlow
        ? 'Set a smaller flow_shift, or smaller base_shift and max_shift.'
        : 'Check beta_start, beta_end and trained_betas: a beta of 0 adds no noise, and a beta of 1 leaves ' +
          'no signal.'),
  );
}
