import { float16Values } from './graphs/float16.ts';
import type { Floats } from './graphs/graph.ts';

/**
 * Classifier-free guidance, u + g * (c - u): Ho and Salimans 2022, eq. 6, with diffusers' scale g.
 * @param output [u, c]: the predictions for the negative prompt, then those for the prompt
 * @param into array for the result, half as long as `output`
 * @returns `into`
 */
export function guide(output: Floats, guidanceScale: number, into: Float32Array): Float32Array {
  if (output instanceof Uint16Array) guideBits(output, guidanceScale, into);
  else guideFloats(output, guidanceScale, into);
  return into;
}

function guideFloats(output: Float32Array, guidanceScale: number, into: Float32Array): void {
  const half = into.length;
  for (let i = 0; i < half; i++) into[i] = output[i] + guidanceScale * (output[half + i] - output[i]);
}

/** Bits of float16 are looked up here, which saves an array of both predictions. */
function guideBits(output: Uint16Array, guidanceScale: number, into: Float32Array): void {
  const values = float16Values();
  const half = into.length;
  for (let i = 0; i < half; i++) {
    const unconditional = values[output[i]];
    into[i] = unconditional + guidanceScale * (values[output[half + i]] - unconditional);
  }
}
