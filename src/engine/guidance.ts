import { float16Values } from './graphs/float16.ts';
import type { Floats } from './graphs/graph.ts';

/**
 * Classifier-free guidance, u + g * (c - u): Ho and Salimans 2022, eq. 6, with diffusers' scale g.
 * @param unconditional u, the predictions for the negative prompt
 * @param conditional c, those for the prompt, as many and of the same type
 * @param into array for the result, as long as each of them
 * @returns `into`
 */
export function guide(
  unconditional: Floats,
  conditional: Floats,
  guidanceScale: number,
  into: Float32Array,
): Float32Array {
  if (unconditional instanceof Uint16Array && conditional instanceof Uint16Array)
    guideBits(unconditional, conditional, guidanceScale, into);
  else guideFloats(unconditional, conditional, guidanceScale, into);
  return into;
}

function guideFloats(u: Floats, c: Floats, guidanceScale: number, into: Float32Array): void {
  for (let i = 0; i < into.length; i++) into[i] = u[i] + guidanceScale * (c[i] - u[i]);
}

/**
 * Bits of float16 are looked up here, which saves an array of both predictions. Four numbers at a
 * time, as in `toFloat16`.
 */
function guideBits(u: Uint16Array, c: Uint16Array, guidanceScale: number, into: Float32Array): void {
  const values = float16Values();
  let i = 0;
  for (; i + 3 < into.length; i += 4) {
    const first = values[u[i]];
    const second = values[u[i + 1]];
    const third = values[u[i + 2]];
    const fourth = values[u[i + 3]];
    into[i] = first + guidanceScale * (values[c[i]] - first);
    into[i + 1] = second + guidanceScale * (values[c[i + 1]] - second);
    into[i + 2] = third + guidanceScale * (values[c[i + 2]] - third);
    into[i + 3] = fourth + guidanceScale * (values[c[i + 3]] - fourth);
  }
  for (; i < into.length; i++) into[i] = values[u[i]] + guidanceScale * (values[c[i]] - values[u[i]]);
}
