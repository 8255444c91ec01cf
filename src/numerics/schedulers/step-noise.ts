/**
 * Throws a RangeError unless `noise` is as long as the latents.
 * @param reason why noise is needed, such as "eta is 1"
 */
export function checkNoise(
  noise: Float32Array | undefined,
  latents: Float32Array,
  reason: string,
): asserts noise is Float32Array {
  if (noise?.length === latents.length) return;
  throw new RangeError(
    `${reason}: step needs ${latents.length} numbers of noise, got ${noise?.length ?? 'none'}.`,
  );
}

/**
 * Throws a RangeError when there is noise: whoever gives it believes that it has an effect.
 * @param reason why there is none, such as "eta is 0"
 */
export function refuseNoise(noise: Float32Array | undefined, reason: string): void {
  if (noise !== undefined) throw new RangeError(`${reason}: step takes no noise.`);
}
