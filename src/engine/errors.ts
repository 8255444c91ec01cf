/** A failure that another try would not fix, such as a graph of the wrong kind or scores of NaN. */
export class EngineError extends Error {
  override readonly name: string = 'EngineError';
}

/** There is not enough memory, even for one picture at a time. A fresh process may have more. */
export class OutOfMemoryError extends EngineError {
  override readonly name = 'OutOfMemoryError';
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

/** A message of ONNX Runtime on one line, without the locations in its C++ source. */
export function withoutSourceLocations(message: string): string {
  return message
    .replace(/\/\S+\.(?:cc|cpp|cu|h)(?::\d+)? .*?\)(?::?) (?=[A-Z])/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/\.$/, '');
}
