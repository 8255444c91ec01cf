import { isObject } from '../../core/is-object.ts';
import { measureJson } from '../../core/json-size.ts';
import {
  ARRAYS,
  countNumbers,
  DTYPES,
  type Dtype,
  type HeaderLimits,
  isSizes,
  MAX_HEADER_DEPTH,
  METADATA,
  quote,
  SafetensorsError,
} from './format.ts';

/** Where a tensor lies in the file, from its entry in the header. */
export interface Layout {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte, and the byte after the last, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/**
 * Parses the header.
 * @throws SafetensorsError when it exceeds `limits`, is not a JSON object, or two members have one
 *   name
 */
export function parseHeader(bytes: Uint8Array, limits: HeaderLimits): { [name: string]: unknown } {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SafetensorsError('The header is not UTF-8 text.');
  }
  if (!text.startsWith('{')) throw new SafetensorsError('The header must begin with "{".');
  const size = measureJson(text);
  if (size.depth > MAX_HEADER_DEPTH) {
    throw new SafetensorsError(
      `The header is nested ${size.depth} levels deep; at most ${MAX_HEADER_DEPTH} are accepted.`,
    );
  }
  if (size.values > limits.values) {
    throw new SafetensorsError(
      `The header has ${size.values} values; at most ${limits.values} are accepted. ` +
        'Leave metadata out that the file does not need.',
    );
  }
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw new SafetensorsError(`The header is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (!isObject(header)) throw new SafetensorsError('The header must be a JSON object.');
  // JSON.parse silently keeps the last of two members with one name; other readers may keep the
  // first.
  const members = Object.values(header).reduce<number>(
    (count, value) => count + 1 + (isObject(value) ? Object.keys(value).length : 0),
    0,
  );
  if (size.members > members)
    throw new SafetensorsError('The header has two members with one name, or an object nested too deep.');
  return header;
}

/**
 * Reads a tensor's entry of the header.
 * @throws SafetensorsError when a field is missing, unknown or invalid, or the offsets do not fit
 *   the shape
 */
export function readLayout(name: string, info: unknown): Layout {
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
      `Tensor ${label} of dtype ${dtype} and shape [${shape.join(', ')}] needs ${needed} bytes, ` +
        `but its data_offsets span ${end - begin}.`,
    );
  }
  return { name, dtype, shape, begin, end };
}

/**
 * Checks that every byte of the data belongs to exactly one tensor.
 * @param dataLength bytes after the header
 * @throws SafetensorsError when tensors overlap, leave a gap or exceed the file
 */
export function checkCoverage(layouts: readonly Layout[], dataLength: number): void {
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
      throw new SafetensorsError(`There is a gap of ${begin - covered} bytes before tensor ${label}.`);
    }
    covered = end;
  }
  if (covered !== dataLength) {
    throw new SafetensorsError(`The last ${dataLength - covered} bytes of the file belong to no tensor.`);
  }
}

/**
 * Checks the metadata.
 * @throws SafetensorsError when they are not an object of strings, or have too many entries
 */
export function readMetadata(metadata: unknown, limits: HeaderLimits): { [name: string]: string } {
  if (!isObject(metadata)) throw new SafetensorsError(`${METADATA} must be an object of strings.`);
  const count = Object.keys(metadata).length;
  if (count > limits.metadataEntries) {
    throw new SafetensorsError(
      `The metadata have ${count} entries; at most ${limits.metadataEntries} are accepted.`,
    );
  }
  for (const [name, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') {
      throw new SafetensorsError(
        `The metadata value ${quote(name)} is ${quote(value)}; it must be a string.`,
      );
    }
  }
  return metadata as { [name: string]: string };
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(ARRAYS, value);
}
