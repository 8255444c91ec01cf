// ONNX Runtime's binding for Node takes and returns float16 as bits in a `Uint16Array`.
// Node 22 has no `Float16Array`.

/** Bits of float32: |x| from here on is infinity in float16 (65520, halfway to 2^16). */
const INFINITE_FROM = 0x477ff000;
/** Bits of float32: infinity, above which are NaNs. */
const INFINITY_BITS = 0x7f800000;
/** Bits of float32: 2^-14, below which float16 is subnormal. */
const NORMAL_FROM = 0x38800000;

/**
 * float32 to the bits of float16: rounded to the nearest, ties to even; to infinity from 65520 on.
 * Integer arithmetic on the bits of float32, without a call per number.
 * @param into array for the result, at least as long as `values`; a new one by default
 * @returns `into`
 */
export function toFloat16(
  values: Float32Array,
  into: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fffffff;
    if (magnitude >= INFINITE_FROM) {
      into[i] = sign | (magnitude > INFINITY_BITS ? 0x7e00 : 0x7c00);
    } else if (magnitude < NORMAL_FROM) {
      // At 0.5 the last bit of float32 is 2^-24, the unit of subnormals, so the sum rounds to it.
      wordOfSum[0] = magnitude;
      sum[0] += 0.5;
      into[i] = sign | (wordOfSum[0] - 0x3f000000);
    } else {
      // The bias of the exponent goes from 127 to 15. Almost half of the last place is added, and
      // the last place itself if it is odd, before the 13 bits behind it are cut off.
      into[i] = sign | ((magnitude - (112 << 23) + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    }
  }
  return into;
}

const sum = new Float32Array(1);
const wordOfSum = new Uint32Array(sum.buffer);

/**
 * The bits of float16 to float32.
 * @param into array for the result, as long as `bits`; a new one by default
 * @returns `into`
 */
export function fromFloat16(
  bits: Uint16Array,
  into: Float32Array = new Float32Array(bits.length),
): Float32Array {
  table ??= createTable();
  const values = table;
  for (let i = 0; i < bits.length; i++) into[i] = values[bits[i]];
  return into;
}

/** The value of each of the 65,536 bit patterns: a look-up is faster than a conversion. */
let table: Float32Array | undefined;

function createTable(): Float32Array {
  return Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >>> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
  });
}
