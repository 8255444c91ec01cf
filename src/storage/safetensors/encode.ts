import {
  ARRAYS,
  countNumbers,
  DTYPES,
  isSizes,
  LENGTH_BYTES,
  METADATA,
  quote,
  SafetensorsError,
  type Tensor,
} from './format.ts';

/**
 * Writes a safetensors file. The same input gives the same bytes, in any order of its keys: as in
 * the reference library, tensors are sorted by dtype, widest first, and then by name, so that every
 * tensor is aligned. Metadata are sorted by name.
 * @throws SafetensorsError when a tensor's data fit neither its dtype nor its shape, or its name is
 *   reserved
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
