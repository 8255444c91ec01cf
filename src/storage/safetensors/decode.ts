import {
  ARRAYS,
  type Dtype,
  type HeaderLimits,
  LENGTH_BYTES,
  METADATA,
  SafetensorsError,
  type SafetensorsFile,
  STORED_LIMITS,
  type TensorData,
} from './format.ts';
import { checkCoverage, parseHeader, readLayout, readMetadata } from './header.ts';

/**
 * Reads a safetensors file. Reading is strict, because clients upload such files. Tensors that are
 * aligned in `bytes` are views of it; the others are copies. `limits` are checked before the header
 * is parsed.
 * @throws SafetensorsError that says what the format forbids
 */
export function decodeSafetensors(bytes: Uint8Array, limits: HeaderLimits = STORED_LIMITS): SafetensorsFile {
  if (bytes.length < LENGTH_BYTES) {
    throw new SafetensorsError(
      `The file has ${bytes.length} bytes; a safetensors file has at least ${LENGTH_BYTES}.`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = view.getBigUint64(0, true);
  if (headerLength > limits.bytes) {
    throw new SafetensorsError(
      `The header claims ${headerLength} bytes; at most ${limits.bytes} are accepted. ` +
        'It has too many metadata, or this is not a safetensors file.',
    );
  }
  const dataStart = LENGTH_BYTES + Number(headerLength);
  if (dataStart > bytes.length) {
    throw new SafetensorsError(
      `The header claims ${headerLength} bytes, but only ${bytes.length - LENGTH_BYTES} follow its length. ` +
        'The file is cut off, or it is not a safetensors file.',
    );
  }
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart), limits);
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
    metadata: readMetadata(metadata, limits),
  };
}

function viewAs(dtype: Dtype, bytes: Uint8Array): TensorData {
  const Numbers: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => TensorData =
    ARRAYS[dtype];
  const size = ARRAYS[dtype].BYTES_PER_ELEMENT;
  // A typed array must begin at a multiple of its number's size; tensors of other writers, and
  // buffers from node's pool, may begin anywhere.
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  return new Numbers(buffer, byteOffset, byteLength / size);
}
