import { checkDistribution, dimension, type NoiseDistribution } from './noise-distribution.ts';

/** One Gaussian of a mixture. */
export interface MixtureComponent {
  /** d numbers. */
  readonly mean: ArrayLike<number>;
  /** One number for all dimensions, or d numbers; > 0. */
  readonly std: number | ArrayLike<number>;
  /** >= 0; the weights of all components sum to 1. */
  readonly weight: number;
}

/**
 * The mixture of `components`, whose numbers are copied. It stores one standard deviation per
 * component if every component gives a single number, else d per component.
 *
 * @param shape of one latent, d numbers
 * @throws RangeError if a length does not fit the shape or `checkDistribution` rejects the result
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
 * std_k = sqrt(1 - c_k^2). Its samples c * z + sqrt(1 - c^2) * eps keep the norm sqrt(d) of the
 * noises that the model was trained on. As a proposal this is the preconditioned Crank-Nicolson
 * step of Cotter et al. 2013, equation 4.4; here it is a distribution.
 *
 * @param shape of one latent, d numbers
 * @param anchors K good noises of d numbers each, of norm about sqrt(d)
 * @param c cosine of a sample to its anchor (about), in [0, 1); one number for all or one per
 *   anchor
 * @param weights K weights >= 0 whose sum is 1; without them all weights are equal
 * @throws RangeError for a `c` or weights out of range, or lengths that do not fit
 */
export function anchoredDistribution(
  shape: readonly number[],
  anchors: readonly Float32Array[],
  c: number | readonly number[],
  weights?: ArrayLike<number>,
): NoiseDistribution {
  if (typeof c !== 'number' && c.length !== anchors.length) {
    throw new RangeError(
      `c has ${c.length} numbers for ${anchors.length} anchors; give one number or one per anchor.`,
    );
  }
  if (weights !== undefined && weights.length !== anchors.length) {
    throw new RangeError(
      `There are ${weights.length} weights for ${anchors.length} anchors; give one per anchor.`,
    );
  }
  return mixtureDistribution(
    shape,
    anchors.map((anchor, k) => {
      const cosine = typeof c === 'number' ? c : c[k];
      if (!(cosine >= 0 && cosine < 1)) {
        throw new RangeError(
          `c is ${cosine}; it must be in [0, 1): at 1 the distribution would be a single noise.`,
        );
      }
      return {
        mean: anchor.map((value) => cosine * value),
        std: Math.sqrt(1 - cosine * cosine),
        weight: weights === undefined ? 1 / anchors.length : weights[k],
      };
    }),
  );
}

function wrongLength(name: string, component: number, length: number, shape: readonly number[]): RangeError {
  return new RangeError(
    `The ${name} of component ${component} has ${length} numbers; ` +
      `shape [${shape.join(', ')}] needs ${dimension(shape)}.`,
  );
}
