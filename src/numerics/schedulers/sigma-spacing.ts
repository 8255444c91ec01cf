import { roundHalfToEven } from '../rounding.ts';
import type { ConfigReader } from './config.ts';
import { linearSpace, trailingTimesteps } from './timesteps.ts';

export const TIMESTEP_SPACINGS = ['linspace', 'leading', 'trailing'] as const;

/** Where a multistep method's noise levels come from: the timesteps, or a rule of their own. */
export type LevelSpacing = 'timesteps' | 'karras' | 'lu' | 'exponential' | 'flow';

/**
 * What the config says of the noise levels: `use_karras_sigmas`, `use_lu_lambdas`, `use_exponential_sigmas`,
 * `use_flow_sigmas`, of which the first that is true counts.
 *
 * @param knowsLu whether the class looks at `use_lu_lambdas`
 * @param ofFlow what it can make of the levels of a flow, where `use_flow_sigmas` is true
 * @throws Error for `use_beta_sigmas`, for both Karras' and exponential levels, and for what cannot be made of a flow
 */
export function readLevelSpacing(
  reader: ConfigReader,
  knowsLu: boolean,
  ofFlow: readonly LevelSpacing[],
): LevelSpacing {
  reader.refuse('use_beta_sigmas');
  const usesKarras = reader.boolean('use_karras_sigmas', false);
  const usesExponential = reader.boolean('use_exponential_sigmas', false);
  if (usesKarras && usesExponential) {
    throw new Error(
      'The scheduler config sets use_karras_sigmas and use_exponential_sigmas; only one can be true.',
    );
  }
  const usesLu = knowsLu && reader.boolean('use_lu_lambdas', false);
  const usesFlow = reader.boolean('use_flow_sigmas', false);
  let kind: LevelSpacing = usesFlow ? 'flow' : 'timesteps';
  if (usesKarras) kind = 'karras';
  else if (usesLu) kind = 'lu';
  else if (usesExponential) kind = 'exponential';
  if (usesFlow && !ofFlow.includes(kind)) {
    throw new Error(
      `The scheduler config sets use_flow_sigmas and ${kind} levels, which rise above 1 as those of a flow cannot. ` +
        'Set only one of use_karras_sigmas, use_exponential_sigmas, use_lu_lambdas and use_flow_sigmas.',
    );
  }
  return kind;
}

/**
 * `sigma_max` and `sigma_min` of the config, or the largest and smallest of the trained levels, which rise.
 *
 * @throws Error unless the one is above the other; a single step may start and end at one level
 */
export function readRange(
  reader: ConfigReader,
  trained: Float32Array,
  steps: number,
): [largest: number, smallest: number] {
  const largest = reader.positiveOrNull('sigma_max') ?? trained[trained.length - 1];
  const smallest = reader.positiveOrNull('sigma_min') ?? trained[0];
  if (smallest > largest || (smallest === largest && steps > 1)) {
    throw new Error(
      `The noise levels of the scheduler config end at sigma_min = ${smallest}, which must be below where they start, ` +
        `sigma_max = ${largest}. What is missing there is taken from the trained levels.`,
    );
  }
  return [largest, smallest];
}

/**
 * Table 2 of Lin et al. 2023 (arXiv 2305.08891) with one timestep more than asked for, of which the lowest is left out.
 *
 * @param last one more than the latest timestep that may be asked
 * @throws RangeError for more steps than "leading" has whole strides for
 */
export function spaceTimesteps(
  spacing: (typeof TIMESTEP_SPACINGS)[number],
  steps: number,
  trainTimesteps: number,
  last: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(last, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(last / (steps + 1));
    if (stride === 0) {
      throw new RangeError(
        `steps is ${steps}; with timestep_spacing leading it must be less than ${last}, the timesteps to choose from.`,
      );
    }
    return Array.from({ length: steps }, (_, i) => (steps - i) * stride + offset);
  }
  return linearSpace(0, last - 1, steps + 1)
    .slice(1)
    .map(roundHalfToEven)
    .reverse();
}

/** Karras et al. 2022 (arXiv 2206.00364), equation 5 with rho = 7: `steps` levels, falling. */
export function spaceKarras(largest: number, smallest: number, steps: number): number[] {
  const [from, to] = [largest ** (1 / 7), smallest ** (1 / 7)];
  return linearSpace(0, 1, steps).map((ramp) => (from + ramp * (to - from)) ** 7);
}

/** Evenly in log(sigma): `steps` levels, falling. */
export function spaceExponentially(largest: number, smallest: number, steps: number): number[] {
  return linearSpace(Math.log(largest), Math.log(smallest), steps).map(Math.exp);
}

/** Evenly in lambda = -log(sigma) from the last trained level to the first: Lu et al. 2022, arXiv 2206.00927. */
export function spaceInLambda(trained: Float32Array, steps: number): number[] {
  // The same as the above but for the last bits, which say on which side of the last timestep the first level falls.
  const [from, to] = [trained[trained.length - 1], trained[0]].map((level) => Math.fround(Math.log(level)));
  return linearSpace(0, 1, steps).map((ramp) => Math.exp(from + ramp * (to - from)));
}

/**
 * The timestep, not rounded, whose noise level is `level`, linear in log(sigma) between the trained ones.
 *
 * @param trained the trained timesteps' levels, rising
 */
export function findTimestep(level: number, trained: Float32Array): number {
  let low = 0;
  while (low < trained.length - 2 && trained[low + 1] <= level) low += 1;
  // In float32 as in diffusers: where the result is cut to an integer, the last bit shows.
  const [from, to] = [Math.fround(Math.log(trained[low])), Math.fround(Math.log(trained[low + 1]))];
  const share = Math.min(1, Math.max(0, (from - Math.log(level)) / (from - to)));
  return (1 - share) * low + share * (low + 1);
}

/**
 * Throws an Error unless every level, but for the last, lies where a step can be made from it.
 *
 * @param isFlow whether 1, not infinity, leaves nothing but noise
 */
export function checkLevels(levels: Float32Array, isFlow: boolean): void {
  const limit = isFlow ? 1 : Number.POSITIVE_INFINITY;
  const unusable = levels.subarray(0, -1).find((level) => !(level > 0 && level < limit));
  if (unusable === undefined) return;
  throw new Error(
    `The scheduler config leads to the noise level ${unusable}; it must lie between 0 and ${limit}. ` +
      (isFlow
        ? 'Check flow_shift, or base_shift and max_shift: less of it.'
        : 'Check beta_start, beta_end and trained_betas: a beta of 0 adds no noise, one of 1 leaves nothing else.'),
  );
}
