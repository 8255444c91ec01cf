/** sum_i a[i] * b[i] of two noises, in double precision. Four sums at a time: one alone waits for each addition before the next. */
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
