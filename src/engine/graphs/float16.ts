import { Float16Array, getFloat16 } from '@petamoriken/float16';

// ONNX Runtime's binding for Node takes and returns float16 as bits in a `Uint16Array`.
// Node 22 has no `Float16Array`.

/**
 * float32 to the bits of float16: rounded to the nearest, ties to even; to infinity above 65504.
 */
export function toFloat16(values: Float32Array): Uint16Array {
  return new Uint16Array(new Float16Array(values).buffer);
}

/** The bits of float16 to float32. */
export function fromFloat16(bits: Uint16Array): Float32Array {
  table ??= createTable();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]];
  return values;
}

/**
 * The value of each of the 65,536 bit patterns; a look-up is twenty times as fast as a conversion.
 */
let table: Float32Array | undefined;

function createTable(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    view.setUint16(0, bits);
    return getFloat16(view, 0);
  });
}
