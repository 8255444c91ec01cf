/**
 * sum_i a[i] * b[i] of two noises in double precision, in four partial sums: with a single one,
 * each addition would wait for the one before.
 *
 * @param a n numbers
 * @param b n numbers
 */
export function dot(a: Float32Array, b: Float32Array): number {
  const end = a.length - (a.length % 4);
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let i = 0; i < end; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (let i = end; i < a.length; i++) s0 += a[i] * b[i];
  return s0 + s1 + s2 + s3;
}

/**
 * sum_i a[i] * b[i] of two short vectors, from the first element to the last. The order is part of
 * the result: the recorded runs of `gp` depend on it to the last bit, so `dot` cannot replace this
 * function.
 *
 * @param a n numbers
 * @param b n numbers
 */
export function dotInOrder(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
