/**
 * The safetensors format of Hugging Face (github.com/huggingface/safetensors, section "Format"): 8 bytes with the length
 * of a JSON header (unsigned, little-endian), the header, and the tensors' bytes without gaps. Reading is strict, for
 * files come from strangers. Numbers are little-endian, as is every machine that ONNX Runtime has builds for.
 */

/** How each dtype lies in memory. Types without a JavaScript array of their own are handed out as their raw bits. */
const ARRAYS = {
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

export type Dtype = keyof typeof ARRAYS;
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

export interface Tensor {
  readonly dtype: Dtype;
  /** Sizes of the axes; [] is a single number. */
  readonly shape: readonly number[];
  /** As many numbers as the sizes' product, row-major. */
  readonly data: TensorData;
}

export interface SafetensorsFile {
  readonly tensors: { readonly [name: string]: Tensor };
  readonly metadata: { readonly [name: string]: string };
}

/** The bytes are not a sound safetensors file, or the tensors can't be put into one. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

const DTYPES = Object.keys(ARRAYS) as Dtype[];
const LENGTH_BYTES = 8;
/** As in the reference library. */
const LONGEST_HEADER = 100_000_000;
const METADATA = '__metadata__';

/**
 * The file of `tensors` and `metadata`. The same input gives the same bytes, whatever the order of its keys: as in the
 * reference library wide dtypes come first and then the names' order decides, so that every tensor is aligned.
 *
 * @throws SafetensorsError when a tensor's data fit neither its dtype nor its shape, or its name is not allowed
 */
export function encodeSafetensors(
  tensors: { readonly [name: string]: Tensor },
  metadata: { readonly [name: string]: string } = {},
): Uint8Array {
  const names = Object.keys(tensors).sort(
    (a, b) => DTYPES.indexOf(tensors[b].dtype) - DTYPES.indexOf(tensors[a].dtype) || (a < b ? -1 : 1),
  );
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) {
    entries.push([
      METADATA,
      Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1))),
    ]);
  }
  let end = 0;
  for (const name of names) {
    const { dtype, shape, data } = tensors[name];
    checkTensor(name, tensors[name]);
    const begin = end;
    end += data.byteLength;
    entries.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  }

  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const headerLength = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(LENGTH_BYTES + headerLength + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  bytes.set(json, LENGTH_BYTES);
  bytes.fill(0x20, LENGTH_BYTES + json.length, LENGTH_BYTES + headerLength);
  let offset = LENGTH_BYTES + headerLength;
  for (const name of names) {
    const { data } = tensors[name];
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return bytes;
}

/**
 * The tensors and metadata of a safetensors file. Aligned tensors are views of `bytes`; the others are copies.
 *
 * @throws SafetensorsError in plain words for anything that the format forbids
 */
export function decodeSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (bytes.length < LENGTH_BYTES) {
    throw new SafetensorsError(
      `The file has ${bytes.length} bytes; a safetensors file has at least ${LENGTH_BYTES}.`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = view.getBigUint64(0, true);
  if (headerLength > LONGEST_HEADER) {
    throw new SafetensorsError(
      `The header claims ${headerLength} bytes; ${LONGEST_HEADER} are allowed. This is hardly a safetensors file.`,
    );
  }
  const dataStart = LENGTH_BYTES + Number(headerLength);
  if (dataStart > bytes.length) {
    throw new SafetensorsError(
      `The header claims ${headerLength} bytes, but only ${bytes.length - LENGTH_BYTES} follow its length. The file is cut off or not safetensors.`,
    );
  }
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart));
  const { [METADATA]: metadata = {}, ...infos } = header;
  const layouts = Object.entries(infos).map(([name, info]) => readLayout(name, info));
  checkCoverage(layouts, bytes.length - dataStart);
  return {
    tensors: Object.fromEntries(
      layouts.map(({ name, dtype, shape, begin, end }) => {
        const data = viewAs(dtype, bytes.subarray(dataStart + begin, dataStart + end));
        return [name, { dtype, shape, data }];
      }),
    ),
    metadata: readMetadata(metadata),
  };
}

interface Layout {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Where the bytes begin and end, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

function parseHeader(bytes: Uint8Array): { [name: string]: unknown } {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SafetensorsError('The header is not UTF-8 text.');
  }
  if (!text.startsWith('{')) throw new SafetensorsError('The header must begin with "{".');
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw new SafetensorsError(`The header is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (!isObject(header)) throw new SafetensorsError('The header must be a JSON object.');
  // JSON.parse keeps the last of two members with one name and says nothing; another reader may keep the first.
  const members = Object.values(header).reduce<number>(
    (count, value) => count + 1 + (isObject(value) ? Object.keys(value).length : 0),
    0,
  );
  if (countColons(text) > members)
    throw new SafetensorsError('The header holds a name twice, or objects too deep.');
  return header;
}

/** How many colons `text`, which is valid JSON, has outside its strings: one for each member as it was written. */
function countColons(text: string): number {
  let colons = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') quoted = !quoted;
    else if (quoted && character === '\\') i++;
    else if (!quoted && character === ':') colons++;
  }
  return colons;
}

function readLayout(name: string, info: unknown): Layout {
  const label = quote(name);
  if (!isObject(info)) throw new SafetensorsError(`The header's entry of tensor ${label} must be an object.`);
  const { dtype, shape, data_offsets: offsets, ...others } = info;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined)
    throw new SafetensorsError(`Tensor ${label} has an unknown field ${quote(unknown)}.`);
  if (!isDtype(dtype)) {
    throw new SafetensorsError(`Tensor ${label} has dtype ${quote(dtype)}; known are ${DTYPES.join(', ')}.`);
  }
  if (!isSizes(shape)) {
    throw new SafetensorsError(
      `Tensor ${label} has shape ${quote(shape)}; it must be a list of whole numbers >= 0.`,
    );
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new SafetensorsError(
      `Tensor ${label} has data_offsets ${quote(offsets)}; they must be two whole numbers, begin <= end.`,
    );
  }
  const [begin, end] = offsets;
  const needed = countNumbers(label, shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
  if (end - begin !== needed) {
    throw new SafetensorsError(
      `Tensor ${label} of dtype ${dtype} and shape [${shape.join(', ')}] needs ${needed} bytes, but its data_offsets span ${end - begin}.`,
    );
  }
  return { name, dtype, shape, begin, end };
}

/** The tensors together must be the data, each byte once: nothing hidden between them, nothing read twice. */
function checkCoverage(layouts: readonly Layout[], dataLength: number): void {
  let covered = 0;
  for (const { name, begin, end } of layouts.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const label = quote(name);
    if (end > dataLength) {
      throw new SafetensorsError(
        `Tensor ${label} ends at byte ${end}, but the file holds ${dataLength} bytes of data.`,
      );
    }
    if (begin < covered) throw new SafetensorsError(`Tensor ${label} overlaps another one at byte ${begin}.`);
    if (begin > covered) {
      throw new SafetensorsError(`There is a hole of ${begin - covered} bytes before tensor ${label}.`);
    }
    covered = end;
  }
  if (covered !== dataLength) {
    throw new SafetensorsError(`The last ${dataLength - covered} bytes of the file belong to no tensor.`);
  }
}

function readMetadata(metadata: unknown): { [name: string]: string } {
  if (!isObject(metadata)) throw new SafetensorsError(`${METADATA} must be an object of strings.`);
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') {
      throw new SafetensorsError(
        `The metadata value ${quote(name)} is ${quote(value)}; it must be a string.`,
      );
    }
  }
  return metadata as { [name: string]: string };
}

function viewAs(dtype: Dtype, bytes: Uint8Array): TensorData {
  const Numbers: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => TensorData =
    ARRAYS[dtype];
  const size = ARRAYS[dtype].BYTES_PER_ELEMENT;
  // A typed array must begin at a multiple of its number's size; files and pooled buffers may not.
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  return new Numbers(buffer, byteOffset, byteLength / size);
}

function checkTensor(name: string, { dtype, shape, data }: Tensor): void {
  const label = quote(name);
  if (name === '' || name === METADATA) throw new SafetensorsError(`A tensor can't be named ${label}.`);
  if (!(data instanceof ARRAYS[dtype])) {
    throw new SafetensorsError(`Tensor ${label} of dtype ${dtype} needs its data as ${ARRAYS[dtype].name}.`);
  }
  if (!isSizes(shape) || countNumbers(label, shape) !== data.length) {
    throw new SafetensorsError(
      `Tensor ${label} has ${data.length} numbers, which its shape [${shape}] does not fit.`,
    );
  }
}

function countNumbers(label: string, shape: readonly number[]): number {
  return shape.reduce((product, size) => {
    // Also with a 0 further on: other readers multiply in this order and overflow.
    if (product * size > Number.MAX_SAFE_INTEGER / 8) {
      throw new SafetensorsError(
        `Tensor ${label} has shape [${shape.join(', ')}], which is too large to count.`,
      );
    }
    return product * size;
  }, 1);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(ARRAYS, value);
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A stranger's value for a message: as JSON, cut short. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
