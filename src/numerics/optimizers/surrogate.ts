/** The noises of one past iteration with the policy that they were sampled from. */
export interface Rollout {
  /** mu_old, d numbers. */
  readonly mean: Float32Array;
  /** sigma_old, d numbers. */
  readonly std: Float32Array;
  /** n noises of d numbers each. */
  readonly noises: readonly Float32Array[];
  /** n calibrated rewards r*, in the order of the noises. */
  readonly advantages: readonly number[];
  /**
   * The result of `standardizedSquares`, cached for rollouts that are used in several iterations.
   */
  readonly squares?: readonly Float64Array[];
}

/** ((z_i - mu_old_i) / sigma_old_i)^2 of each noise: the part of the ratio that never changes. */
export function standardizedSquares({ mean, std, noises }: Rollout): Float64Array[] {
  const precision = inverse(std);
  return noises.map((noise) => {
    const squares = new Float64Array(noise.length);
    for (let i = 0; i < squares.length; i++) {
      const old = (noise[i] - mean[i]) * precision[i];
      squares[i] = old * old;
    }
    return squares;
  });
}

/**
 * Uphill gradient of PPO's clipped surrogate (Schulman et al. 2017, equation 7; FIND, appendix A.2)
 * with respect to mu and sigma:
 *
 *   L = mean over noises and dimensions i of min(rho_i r*, clip(rho_i, 1 - eps, 1 + eps) r*),
 *   rho_i = N(z_i; mu_i, sigma_i) / N(z_i; mu_old_i, sigma_old_i).
 *
 * The ratio of EACH DIMENSION is clipped. The density is a product over the dimensions, so the
 * gradient at mu_old is that of the joint density, r* d log pi. The joint ratio is a product of
 * thousands of factors: it leaves [1 - eps, 1 + eps] after the smallest step, so clipping it would
 * stop all learning. The mean of the log-density, which the authors' code uses, never leaves the
 * interval, so clipping it would have no effect. The ratio of a dimension binds where the policy
 * has moved by about eps * sigma in the direction that the noise argues for.
 *
 * The minimum keeps the gradient of a dimension that moved against the advantage of its noise,
 * however far it moved, so that the dimension can return.
 *
 * @param mean mu, d numbers
 * @param std sigma, d numbers
 * @param clip eps
 * @returns the gradients of mu and sigma, d numbers each, and the share of clipped ratios in [0, 1]
 */
export function surrogateGradient(
  rollouts: readonly Rollout[],
  mean: Float32Array,
  std: Float32Array,
  clip: number,
): { mean: Float32Array; std: Float32Array; clipped: number } {
  const d = mean.length;
  const sum: GradientSum = { mean: new Float32Array(d), std: new Float32Array(d), clipped: 0 };
  const count = rollouts.reduce((total, { noises }) => total + noises.length, 0);
  // Multiplications by the precision replace the divisions that would dominate the inner loop.
  const policy: Policy = { mean, precision: inverse(std) };
  for (const rollout of rollouts) {
    const squares = rollout.squares ?? standardizedSquares(rollout);
    for (const [index, noise] of rollout.noises.entries()) {
      const advantage = rollout.advantages[index] / (count * d);
      addGradient(sum, policy, { noise, squares: squares[index], oldStd: rollout.std, advantage, clip });
    }
  }
  return { mean: sum.mean, std: sum.std, clipped: sum.clipped / (count * d) };
}

interface GradientSum {
  readonly mean: Float32Array;
  readonly std: Float32Array;
  /** Number of clipped ratios. */
  clipped: number;
}

interface Policy {
  readonly mean: Float32Array;
  /** 1 / sigma. */
  readonly precision: Float64Array;
}

interface WeightedNoise {
  readonly noise: Float32Array;
  readonly squares: Float64Array;
  readonly oldStd: Float32Array;
  readonly advantage: number;
  readonly clip: number;
}

/**
 * Adds the gradient of one noise. `find` spends nearly all its time here, so this is a loop over
 * plain arrays in a function of its own, which the JIT compiles early.
 */
function addGradient(
  sum: GradientSum,
  { mean, precision }: Policy,
  { noise, squares, oldStd, advantage, clip }: WeightedNoise,
) {
  const { mean: meanGradient, std: stdGradient } = sum;
  // The minimum of equation 7: only one side of the interval clips, depending on the advantage's
  // sign.
  const lowest = advantage > 0 ? Number.NEGATIVE_INFINITY : 1 - clip;
  const highest = advantage > 0 ? 1 + clip : Number.POSITIVE_INFINITY;
  let clipped = 0;
  for (let i = 0; i < mean.length; i++) {
    const p = precision[i];
    const z = (noise[i] - mean[i]) * p;
    const square = z * z;
    const ratio = oldStd[i] * p * exponential((squares[i] - square) / 2);
    if (ratio < lowest || ratio > highest) {
      clipped++;
      continue;
    }
    // Appendix A.1: d log N / d mu = (z - mu) / sigma^2,
    // d log N / d sigma = ((z - mu)^2 - sigma^2) / sigma^3.
    const weight = advantage * ratio;
    meanGradient[i] += weight * z * p;
    stdGradient[i] += weight * (square - 1) * p;
  }
  sum.clipped += clipped;
}

function inverse(values: Float32Array): Float64Array {
  const inverses = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) inverses[i] = 1 / values[i];
  return inverses;
}

/**
 * exp(x). The policy moves slowly, so nearly all exponents are small; for these a Taylor series is
 * accurate to 1e-13 and much faster than `Math.exp`.
 */
function exponential(x: number): number {
  if (x > 0.1 || x < -0.1) return Math.exp(x);
  const rest = 1 / 120 + x * (1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880))));
  return 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * rest))));
}
