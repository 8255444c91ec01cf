/** Something that trying again would not mend: a graph that can't be opened, pictures or rewards that are no numbers. */
export class EngineError extends Error {
  override readonly name: string = 'EngineError';
}

/** There is not enough memory for the work, not even one draw at a time; a fresh process may have more. */
export class OutOfMemoryError extends EngineError {
  override readonly name = 'OutOfMemoryError';
}

/** Nobody waits for the result any more. */
export class CanceledError extends Error {
  override readonly name = 'CanceledError';

  constructor() {
    super('Nobody waits for this any more.');
  }
}

/** What allocators say: ONNX Runtime's arena, CUDA and its libraries, Vulkan and Direct3D, C++ and V8. */
const WORDS =
  /failed to allocate memory|bfc_?arena|out of memory|out_of_memory|(?:CUBLAS|CUDNN)_STATUS_(?:INTERNAL_ERROR_DEVICE_)?ALLOC(?:ATION)?_FAILED|OUT_OF_(?:DEVICE|HOST)_MEMORY|bad_alloc\b|bad allocation|cannot allocate memory|array buffer allocation failed/i;

/** Whether an error says that memory ran out, whoever says it. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof OutOfMemoryError || (error instanceof Error && WORDS.test(error.message));
}
