/** Draws of one past iteration, with the law that they came from. */
export interface Rollout {
  readonly mean: Float32Array;
  readonly std: Float32Array;
  readonly noises: readonly Float32Array[];
  /** Calibrated rewards r*; entry i belongs to noise i. */
  readonly advantages: readonly number[];
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
 * code, never leaves it and would clip nothing. Per dimension the clip binds exactly where the law has moved by about
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
  const [meanGradient, stdGradient] = [new Float32Array(d), new Float32Array(d)];
  const draws = rollouts.reduce((count, { noises }) => count + noises.length, 0);
  let clipped = 0;
  // Divisions are what this loop would spend its time on.
  const precision = inverse(std);
  for (const rollout of rollouts) {
    const { mean: oldMean, std: oldStd } = rollout;
    const oldPrecision = inverse(oldStd);
    for (const [index, noise] of rollout.noises.entries()) {
      const advantage = rollout.advantages[index] / (draws * d);
      for (let i = 0; i < d; i++) {
        const z = (noise[i] - mean[i]) * precision[i];
        const old = (noise[i] - oldMean[i]) * oldPrecision[i];
        const ratio = oldStd[i] * precision[i] * exponential((old * old - z * z) / 2);
        if (advantage > 0 ? ratio > 1 + clip : ratio < 1 - clip) {
          clipped++;
          continue;
        }
        // d log N / d mu = (z - mu) / sigma^2 and d log N / d sigma = ((z - mu)^2 - sigma^2) / sigma^3 (appendix A.1)
        meanGradient[i] += advantage * ratio * z * precision[i];
        stdGradient[i] += advantage * ratio * (z * z - 1) * precision[i];
      }
    }
  }
  return { mean: meanGradient, std: stdGradient, clipped: clipped / (draws * d) };
}

function inverse(values: Float32Array): Float64Array {
  const inverses = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) inverses[i] = 1 / values[i];
  return inverses;
}

/** exp(x). Laws move slowly, so nearly all exponents are small: there Taylor's series is within 1e-13 of it, and much quicker. */
function exponential(x: number): number {
  if (x > 0.1 || x < -0.1) return Math.exp(x);
  const rest = 1 / 120 + x * (1 / 720 + x * (1 / 5040 + x * (1 / 40320 + x * (1 / 362880))));
  return 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * rest))));
}
