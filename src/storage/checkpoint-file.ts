import type { OptimizerState } from '../numerics/optimizers/optimizer.ts';
import { decodeSafetensors, encodeSafetensors, type Tensor } from './safetensors.ts';

/** What a run needs to go on elsewhere, in one blob: the optimizer's state and how far the loop was. */
export interface Checkpoint {
  readonly state: OptimizerState;
  /** The JSON object that was given. */
  readonly progress: unknown;
}

/** The bytes are not a checkpoint of this version, or what should be kept can't be kept exactly. */
export class CheckpointFileError extends Error {
  override readonly name = 'CheckpointFileError';
}

const FORMAT = 'findery.checkpoint';
const FORMAT_VERSION = '1';

/**
 * `state` and `progress` as one safetensors file. Tensors come back to the bit, NaN's payload included; `state.values` and
 * `progress` as JSON.
 *
 * @throws CheckpointFileError for NaN or an infinity in `state.values` or `progress`: JSON would turn it into null, and
 * the run would go on to other bits
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
 * The inverse of `encodeCheckpoint`; the arrays are copies.
 * @throws SafetensorsError or CheckpointFileError when the bytes are something else
 */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const { format, formatVersion, values, progress } = metadata;
  if (format !== FORMAT || formatVersion !== FORMAT_VERSION) {
    throw new CheckpointFileError(
      `The file's format is ${format ?? 'missing'}, version ${formatVersion ?? 'missing'}; a checkpoint has ${FORMAT}, version ${FORMAT_VERSION}.`,
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

function encodeExactly(what: string, value: object): string {
  return JSON.stringify(value, (key, member: unknown) => {
    if (typeof member === 'number' && !Number.isFinite(member)) {
      throw new CheckpointFileError(
        `${what} holds ${member} at "${key}"; a checkpoint keeps finite numbers only.`,
      );
    }
    return member;
  });
}

function copy(name: string, { data, dtype }: Tensor): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data.slice();
  throw new CheckpointFileError(`The tensor "${name}" has dtype ${dtype}; a checkpoint holds F32 and F64.`);
}
