import type { OptimizerState } from '../numerics/optimizers/optimizer.ts';
import { decodeSafetensors } from './safetensors/decode.ts';
import { encodeSafetensors } from './safetensors/encode.ts';
import type { Tensor } from './safetensors/format.ts';

/** The state of an interrupted run: another worker continues from it with the same results. */
export interface Checkpoint {
  readonly state: OptimizerState;
  /** How far the run was: the JSON object that was encoded. */
  readonly progress: unknown;
}

/** The bytes are not a checkpoint of this version, or a value can't be stored exactly. */
export class CheckpointFileError extends Error {
  override readonly name = 'CheckpointFileError';
}

const FORMAT = 'findery.checkpoint';
const FORMAT_VERSION = '1';

/**
 * Writes a checkpoint: one safetensors file with the tensors of `state` (F32 and F64, one axis)
 * and, as JSON in its metadata, `state.values` and `progress`. Tensors are restored bit for bit,
 * with the payload of NaN.
 * @throws CheckpointFileError for NaN or an infinity in `state.values` or `progress`: JSON would
 *   turn it into null, and the resumed run would give other results
 */
export function encodeCheckpoint(state: OptimizerState, progress: object): Uint8Array {
  const tensors: { [name: string]: Tensor } = {};
  for (const [name, data] of Object.entries(state.tensors)) {
    tensors[name] = { dtype: data instanceof Float64Array ? 'F64' : 'F32', shape: [data.length], data };
  }
  return encodeSafetensors(tensors, {
    format: FORMAT,
    formatVersion: FORMAT_VERSION,
    progress: encodeExactly('progress', progress),
    values: encodeExactly('values', state.values),
  });
}

/**
 * Reads a checkpoint that `encodeCheckpoint` wrote. The arrays are copies.
 * @throws SafetensorsError, CheckpointFileError when the bytes are not a checkpoint of this version
 */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const { format, formatVersion, values, progress } = metadata;
  if (format !== FORMAT || formatVersion !== FORMAT_VERSION) {
    throw new CheckpointFileError(
      `The file's format is ${format ?? 'missing'}, version ${formatVersion ?? 'missing'}; ` +
        `a checkpoint has ${FORMAT}, version ${FORMAT_VERSION}.`,
    );
  }
  return {
    state: {
      values: JSON.parse(values),
      tensors: Object.fromEntries(
        Object.entries(tensors).map(([name, tensor]) => [name, copy(name, tensor)]),
      ),
    },
    progress: JSON.parse(progress),
  };
}

function encodeExactly(name: string, value: object): string {
  return JSON.stringify(value, (key, member: unknown) => {
    if (typeof member === 'number' && !Number.isFinite(member)) {
      throw new CheckpointFileError(
        `${name} holds ${member} at "${key}"; a checkpoint stores finite numbers only.`,
      );
    }
    return member;
  });
}

function copy(name: string, { data, dtype }: Tensor): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data.slice();
  throw new CheckpointFileError(`The tensor "${name}" has dtype ${dtype}; a checkpoint holds F32 and F64.`);
}
