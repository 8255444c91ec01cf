import { checkDistribution, dimension, type NoiseDistribution } from './noise-distribution.ts';

/**
 * N(0, I): the distribution from which a pipeline samples its latents before anything is learned.
 */
export function standardNormalDistribution(shape: readonly number[]): NoiseDistribution {
  return {
    shape: [...shape],
    mean: new Float32Array(dimension(shape)),
    std: Float32Array.of(1),
    weights: Float32Array.of(1),
  };
}

/**
 * FIND's policy pi_theta: z = mean + std * eps (Chen et al. 2024, section 3).
 *
 * @param shape of one latent, d numbers
 * @param mean d numbers; copied
 * @param std one number for all dimensions, or d numbers; > 0; copied
 * @throws RangeError if `checkDistribution` rejects the result
 */
export function gaussianDistribution(
  shape: readonly number[],
  mean: ArrayLike<number>,
  std: number | ArrayLike<number>,
): NoiseDistribution {
  const distribution: NoiseDistribution = {
    shape: [...shape],
    mean: Float32Array.from(mean),
    std: typeof std === 'number' ? Float32Array.of(std) : Float32Array.from(std),
    weights: Float32Array.of(1),
  };
  checkDistribution(distribution);
  return distribution;
}
