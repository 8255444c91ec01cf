/** A failure that another try would not fix, such as a graph of the wrong kind or scores of NaN. */
export class EngineError extends Error {
  override readonly name: string = 'EngineError';
}

/** There is not enough memory, even for one picture at a time. A fresh process may have more. */
export class OutOfMemoryError extends EngineError {
  override readonly name = 'OutOfMemoryError';
}

/**
 * The GPU does not answer any more: it was reset, fell off the bus, or a kernel broke the process's
 * connection to it. Nothing in this process can use it again; a fresh process may.
 */
export class DeviceLostError extends EngineError {
  override readonly name = 'DeviceLostError';
}

/** The caller of an evaluation aborted it. */
export class CanceledError extends Error {
  override readonly name = 'CanceledError';

  constructor() {
    super('The evaluation was canceled.');
  }
}

/**
 * Messages of allocators: ONNX Runtime's arena, CUDA and its libraries, Vulkan and Direct3D, C++,
 * and V8.
 */
const OUT_OF_MEMORY = new RegExp(
  [
    'failed to allocate memory',
    'bfc_?arena',
    'out of memory',
    'out_of_memory',
    '(?:CUBLAS|CUDNN)_STATUS_(?:INTERNAL_ERROR_DEVICE_)?ALLOC(?:ATION)?_FAILED',
    'OUT_OF_(?:DEVICE|HOST)_MEMORY',
    'bad_alloc\\b',
    'bad allocation',
    'cannot allocate memory',
    'array buffer allocation failed',
  ].join('|'),
  'i',
);

/** Whether an error means that memory ran out, whichever library reports it. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof OutOfMemoryError || (error instanceof Error && OUT_OF_MEMORY.test(error.message));
}

/**
 * Messages of a GPU that is lost: CUDA's errors after which each further call of a process fails
 * (busy or unavailable, no device, ECC, illegal address, time-out, assertion, launch failure,
 * unknown), and those of Vulkan, WebGPU and Direct3D.
 */
const DEVICE_LOST = new RegExp(
  [
    'CUDA (?:failure|error) (?:46|100|101|214|220|700|702|71\\d|999)\\b',
    'devices are busy or unavailable',
    'no CUDA-capable device',
    'uncorrectable ECC error',
    'illegal memory access',
    'unspecified launch failure',
    'launch timed out',
    'fallen off the bus',
    'device (?:was |is )?lost',
    'DEVICE_LOST',
    'DEVICE_(?:REMOVED|HUNG|RESET)',
  ].join('|'),
  'i',
);

/** Whether an error means that the GPU is lost to this process. */
export function isDeviceLost(error: unknown): boolean {
  return error instanceof DeviceLostError || (error instanceof Error && DEVICE_LOST.test(error.message));
}

/** A message of ONNX Runtime on one line, without the locations in its C++ source. */
export function withoutSourceLocations(message: string): string {
  return message
    .replace(/\/\S+\.(?:cc|cpp|cu|h)(?::\d+)? .*?\)(?::?) (?=[A-Z])/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/\.$/, '');
}
