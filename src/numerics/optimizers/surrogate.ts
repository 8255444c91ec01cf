/** Draws of one past iteration, with the distribution that they came from. */
export interface Rollout {
  readonly mean: Float32Array;
  readonly std: Float32Array;
  readonly noises: readonly Float32Array[];
  /** Calibrated rewards r*; entry i belongs to noise i. */
  readonly advantages: readonly number[];
  /** What `standardizedSquares` gives, kept where a rollout is used again and again. */
  readonly squares?: readonly Float64Array[];
}

/** ((z_i - mu_old_i) / sigma_old_i)^2 of each noise: what does not change while a rollout is used again. */
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
 * Gradient of PPO's clipped surrogate (Schulman et al. 2017, eq. 7; FIND, appendix A.2), uphill, averaged over draws and
 * dimensions:
 *
 *   L = mean over draws and dimensions i of min(rho_i r*, clip(rho_i, 1 - eps, 1 + eps) r*),
 *   rho_i = N(z_i; mu_i, sigma_i) / N(z_i; mu_old_i, sigma_old_i).
 *
 * What is clipped is the ratio of EACH DIMENSION. The density is a product over the dimensions, so at mu = mu_old the gradient is
 * that of the joint density (r* d log pi). The joint ratio itself is the product of thousands of such factors: it leaves
 * [1 - eps, 1 + eps] after the smallest step and would clip everything; the mean of the log-density, as in the authors'
 * code, never leaves it and would clip nothing. Per dimension the clip binds exactly where the distribution has moved by about
 * eps * sigma along the way that this noise argued for.
 *
 * With the minimum (and only with it) a dimension that has moved against its noise's advantage keeps its gradient, however far it
 * went, and can come back.
 */
export function surrogateGradient(
  rollouts: readonly Rollout[],
  mean: Float32Array,
  std: Float32Array,
  clip: number,
): { mean: Float32Array; std: Float32Array; clipped: number } {
  const d = mean.length;
  const sum: Sum = { mean: new Float32Array(d), std: new Float32Array(d), clipped: 0 };
  const draws = rollouts.reduce((count, { noises }) => count + noises.length, 0);
  // Divisions are what these loops would spend their time on.
  const distribution: PreciseLaw = { mean, precision: inverse(std) };
  for (const rollout of rollouts) {
    const squares = rollout.squares ?? standardizedSquares(rollout);
    for (const [index, noise] of rollout.noises.entries()) {
      const advantage = rollout.advantages[index] / (draws * d);
      addDraw(sum, distribution, { noise, squares: squares[index], oldStd: rollout.std, advantage, clip });
    }
  }
  return { mean: sum.mean, std: sum.std, clipped: sum.clipped / (draws * d) };
}

interface Sum {
  readonly mean: Float32Array;
  readonly std: Float32Array;
  clipped: number;
}

interface PreciseLaw {
  readonly mean: Float32Array;
  /** 1 / sigma. */
  readonly precision: Float64Array;
}

interface WeighedDraw {
  readonly noise: Float32Array;
  readonly squares: Float64Array;
  readonly oldStd: Float32Array;
  readonly advantage: number;
  readonly clip: number;
}

/** One draw's part of the gradient: nearly all of FIND's time, so a loop over plain arrays, in a function that is compiled early. */
function addDraw(
  sum: Sum,
  { mean, precision }: PreciseLaw,
  { noise, squares, oldStd, advantage, clip }: WeighedDraw,
) {
  const { mean: meanGradient, std: stdGradient } = sum;
  const least = advantage > 0 ? Number.NEGATIVE_INFINITY : 1 - clip;
  const most = advantage > 0 ? 1 + clip : Number.POSITIVE_INFINITY;
  let clipped = 0;
  for (let i = 0; i < mean.length; i++) {
    const p = precision[i];
    const z = (noise[i] - mean[i]) * p;
    const square = z * z;
    const ratio = oldStd[i] * p * exponential((squares[i] - square) / 2);
    if (ratio < least || ratio > most) {
      clipped++;
      continue;
    }
    // d log N / d mu = (z - mu) / sigma^2 and d log N / d sigma = ((z - mu)^2 - sigma^2) / sigma^3 (appendix A.1)
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

/** exp(x). Distributions move slowly, so nearly all exponents are small: there Taylor's series is within 1e-13 of it, and much quicker. */
function exponential(x: number): number {
  if (x > 0.1 || x < -0.1) return Math.exp(x);
  const rest = 1 / 120 + x * (1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880))));
  return 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * rest))));
}
