/**
 * A distribution of the initial noise: a mixture of K Gaussians with diagonal covariance over latents of any shape,
 * z = mean_k + std_k * eps with component k drawn by `weights`. K = 1 is FIND's policy pi_theta (Chen et al. 2024,
 * section 3); a component anchored at a good noise z_k has mean c * z_k and std sqrt(1 - c^2), which keeps the norm
 * of its draws where the model was trained.
 */
export interface NoiseDistribution {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]; any rank. */
  readonly shape: readonly number[];
  /** Means of the components, K * d numbers, row k is component k; d is the product of `shape`. */
  readonly mean: Float32Array;
  /** Standard deviations, > 0: either K numbers (one per component) or K * d. */
  readonly std: Float32Array;
  /** K weights, >= 0, that sum to 1. */
  readonly weights: Float32Array;
}
