import { checkDistribution, dimension } from './check.ts';
import type { NoiseDistribution } from './noise-distribution.ts';

/** One Gaussian of a mixture. */
export interface MixtureComponent {
  /** d numbers. */
  readonly mean: ArrayLike<number>;
  /** One number for all, or d numbers; > 0. */
  readonly std: number | ArrayLike<number>;
  /** >= 0; the weights of all components sum to 1. */
  readonly weight: number;
}

/**
 * The mixture of `components`, whose numbers are copied. The standard deviations are stored as one per component where
 * every component gives a single one, else as d per component. Throws a RangeError like `checkLaw`.
 */
export function mixtureDistribution(
  shape: readonly number[],
  components: readonly MixtureComponent[],
): NoiseDistribution {
  const d = dimension(shape);
  const isScalar = components.every(({ std }) => typeof std === 'number');
  const mean = new Float32Array(components.length * d);
  const std = new Float32Array(isScalar ? components.length : components.length * d);
  components.forEach((component, k) => {
    if (component.mean.length !== d) throw wrongLength('mean', k, component.mean.length, shape);
    mean.set(component.mean, k * d);
    if (typeof component.std !== 'number') {
      if (component.std.length !== d) throw wrongLength('std', k, component.std.length, shape);
      std.set(component.std, k * d);
    } else if (isScalar) {
      std[k] = component.std;
    } else {
      std.fill(component.std, k * d, (k + 1) * d);
    }
  });
  const distribution: NoiseDistribution = {
    shape: [...shape],
    mean,
    std,
    weights: Float32Array.from(components, ({ weight }) => weight),
  };
  checkDistribution(distribution);
  return distribution;
}

/**
 * The mixture of variance-preserving Gaussians anchored at good noises z_k: mean_k = c_k * z_k and
 * std_k = sqrt(1 - c_k^2), so that its draws c * z + sqrt(1 - c^2) * eps keep the norm sqrt(d) of the noises the model
 * was trained on (the preconditioned Crank-Nicolson proposal of Cotter et al. 2013, equation 4.4, read as a distribution).
 *
 * @param centres K good noises of d numbers each
 * @param c how near to its centre a draw stays, in [0, 1): about the cosine between the two; one for all or one per centre
 * @param weights K weights >= 0 that sum to 1; equal when left out
 */
export function anchoredDistribution(
  shape: readonly number[],
  centres: readonly Float32Array[],
  c: number | readonly number[],
  weights?: ArrayLike<number>,
): NoiseDistribution {
  if (typeof c !== 'number' && c.length !== centres.length) {
    throw new RangeError(
      `c has ${c.length} numbers for ${centres.length} centres; give one number or one per centre.`,
    );
  }
  if (weights !== undefined && weights.length !== centres.length) {
    throw new RangeError(
      `There are ${weights.length} weights for ${centres.length} centres; give one per centre.`,
    );
  }
  return mixtureDistribution(
    shape,
    centres.map((centre, k) => {
      const nearness = typeof c === 'number' ? c : c[k];
      if (!(nearness >= 0 && nearness < 1)) {
        throw new RangeError(
          `c is ${nearness}; it must be in [0, 1): at 1 the distribution would be a single noise.`,
        );
      }
      return {
        mean: centre.map((value) => nearness * value),
        std: Math.sqrt(1 - nearness * nearness),
        weight: weights === undefined ? 1 / centres.length : weights[k],
      };
    }),
  );
}

function wrongLength(name: string, component: number, length: number, shape: readonly number[]): RangeError {
  return new RangeError(
    `The ${name} of component ${component} has ${length} numbers; shape [${shape.join(', ')}] needs ${dimension(shape)}.`,
  );
}
