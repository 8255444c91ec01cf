import { Float16Array, getFloat16 } from '@petamoriken/float16';

/**
 * float16 as ONNX Runtime's binding for Node takes and gives it: the bits, in a `Uint16Array`. Node 22 has no `Float16Array` of its own.
 */

/** Rounded to the nearest, ties to even; beyond 65504 to infinity. */
export function toFloat16(values: Float32Array): Uint16Array {
  return new Uint16Array(new Float16Array(values).buffer);
}

export function fromFloat16(bits: Uint16Array): Float32Array {
  VALUES ??= allValues();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = VALUES[bits[i]];
  return values;
}

/** The value of each of the 65,536 patterns: looking one up is twenty times as fast as working it out. */
let VALUES: Float32Array | undefined;

function allValues(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    view.setUint16(0, bits);
    return getFloat16(view, 0);
  });
}
