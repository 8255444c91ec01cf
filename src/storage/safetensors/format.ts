/**
 * The safetensors format of Hugging Face (github.com/huggingface/safetensors, section "Format"):
 *
 *     bytes 0..8      length N of the header, unsigned 64-bit, little-endian
 *     bytes 8..8+N    header, a JSON object in UTF-8, padded with spaces
 *     bytes 8+N..     the tensors' numbers, row-major, little-endian, without gaps
 *
 * The header maps the name of each tensor to `{ dtype, shape, data_offsets: [begin, end] }`, with
 * offsets counted from the end of the header. Its member `__metadata__` is an object of strings.
 * Typed arrays have the byte order of the machine, and every machine that ONNX Runtime has builds
 * for is little-endian.
 */

/**
 * The typed array of each dtype, from the narrowest to the widest. A dtype without a typed array of
 * its own (BOOL, F8, F16, BF16) is read and written as its raw bits.
 */
export const ARRAYS = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  F8_E5M2: Uint8Array,
  F8_E4M3: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
} as const;

/** The type of a tensor's numbers, as the header names it. */
export type Dtype = keyof typeof ARRAYS;

/** Every dtype, in the order of `ARRAYS`. */
export const DTYPES = Object.keys(ARRAYS) as Dtype[];

/** The numbers of a tensor, in the typed array of its dtype. */
export type TensorData =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor in memory. */
export interface Tensor {
  readonly dtype: Dtype;
  /** Sizes of the axes; [] for a single number. */
  readonly shape: readonly number[];
  /** Row-major; its length is the product of the sizes. */
  readonly data: TensorData;
}

/** The content of a file. */
export interface SafetensorsFile {
  readonly tensors: { readonly [name: string]: Tensor };
  readonly metadata: { readonly [name: string]: string };
}

/** The bytes are not a valid safetensors file, or the tensors do not fit into one. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

/** Bytes of the number before the header. */
export const LENGTH_BYTES = 8;
/** Limits of a header and of the JSON in its metadata. A header is parsed as a whole. */
export interface HeaderLimits {
  /** Bytes of the header. */
  readonly bytes: number;
  /** Entries of the metadata. */
  readonly metadataEntries: number;
  /** Values in the header, and in all metadata values that are parsed (`JsonSize.values`). */
  readonly values: number;
  /** Levels of objects and lists in a metadata value that is parsed. */
  readonly metadataDepth: number;
}

/** Limits of files that this service wrote or stored. The reference library has the same bytes. */
export const STORED_LIMITS: HeaderLimits = {
  bytes: 100_000_000,
  metadataEntries: Number.POSITIVE_INFINITY,
  values: Number.POSITIVE_INFINITY,
  metadataDepth: Number.POSITIVE_INFINITY,
};

/** Limits of files that clients upload. A policy's header has a few KB and ten entries. */
export const UPLOAD_LIMITS: HeaderLimits = {
  bytes: 2 ** 20,
  metadataEntries: 256,
  values: 16_384,
  metadataDepth: 32,
};

/** Levels of objects and lists in a header; the format has three. */
export const MAX_HEADER_DEPTH = 8;
/** The member of the header that holds the metadata. */
export const METADATA = '__metadata__';

/**
 * Counts the numbers of a tensor.
 * @param label the tensor's name, quoted for the error
 * @throws SafetensorsError when the count exceeds what a double counts exactly
 */
export function countNumbers(label: string, shape: readonly number[]): number {
  return shape.reduce((product, size) => {
    // Checked at every axis, although a later size may be 0: other readers multiply in this order
    // and overflow.
    if (product * size > Number.MAX_SAFE_INTEGER / 8) {
      throw new SafetensorsError(
        `Tensor ${label} has shape [${shape.join(', ')}], which is too large to count.`,
      );
    }
    return product * size;
  }, 1);
}

/** Whether `value` is a list of whole numbers, 0 or more. */
export function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Formats an untrusted value for an error message: JSON, at most 80 characters of it. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
