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
  // Four numbers at a time: V8 does not unroll loops, and its checks take as long as the work.
  let i = 0;
  for (; i + 3 < words.length; i += 4) {
    into[i] = roundWord(words[i]);
    into[i + 1] = roundWord(words[i + 1]);
    into[i + 2] = roundWord(words[i + 2]);
    into[i + 3] = roundWord(words[i + 3]);
  }
  for (; i < words.length; i++) into[i] = roundWord(words[i]);
  return into;
}

/** The bits of a float32 to those of a float16. */
function roundWord(word: number): number {
  const magnitude = word & 0x7fffffff;
  // One comparison for both ends of the range.
  if ((magnitude - NORMAL_FROM) >>> 0 >= INFINITE_FROM - NORMAL_FROM) return roundExtremeWord(word);
  // The bias of the exponent goes from 127 to 15. Almost half of the last place is added, and the
  // last place itself if it is odd, before the 13 bits behind it are cut off.
  return ((word >>> 16) & 0x8000) | ((magnitude - (112 << 23) + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** As `roundWord`, for what is zero, subnormal, infinite or NaN in float16. */
function roundExtremeWord(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude >= INFINITE_FROM) return sign | (magnitude > INFINITY_BITS ? 0x7e00 : 0x7c00);
  // At 0.5 the last bit of float32 is 2^-24, the unit of subnormals, so the sum rounds to it.
  wordOfSum[0] = magnitude;
  sum[0] += 0.5;
  return sign | (wordOfSum[0] - 0x3f000000);
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
  const values = float16Values();
  let i = 0;
  for (; i + 3 < bits.length; i += 4) {
    into[i] = values[bits[i]];
    into[i + 1] = values[bits[i + 1]];
    into[i + 2] = values[bits[i + 2]];
    into[i + 3] = values[bits[i + 3]];
  }
  for (; i < bits.length; i++) into[i] = values[bits[i]];
  return into;
}

/** An output of a graph as float32: bits of float16 are converted. */
export function asFloat32(values: Float32Array | Uint16Array): Float32Array {
  return values instanceof Uint16Array ? fromFloat16(values) : values;
}

/** The value of each of the 65,536 bit patterns: a look-up is faster than a conversion. */
export function float16Values(): Float32Array {
  table ??= createTable();
  return table;
}

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
