/**
 * What is known of ONNX Runtime's execution providers. This file does not load ONNX Runtime, so the
 * main thread may import it.
 */

/** Providers that take the number of a GPU. */
const NUMBERED_PROVIDERS = ['cuda', 'tensorrt', 'dml'];
/** Providers that choose or compile kernels for each input shape. */
const TUNING_PROVIDERS = ['cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'];
/** Providers on which arithmetic on shapes, which the CPU does, interrupts the work of the GPU. */
const SIZE_FIXING_PROVIDERS = ['cuda'];

/** Whether the provider takes the number of a GPU. */
export function takesNumber(provider: string): boolean {
  return NUMBERED_PROVIDERS.includes(provider);
}

/**
 * Whether the first run with a new input shape is slow on this provider. Such a provider should see
 * few shapes, and those of a job before the job starts.
 */
export function tunesShapes(provider: string): boolean {
  return TUNING_PROVIDERS.includes(provider);
}

/** Whether graphs are opened for the sizes that they are run with. */
export function fixesSizes(provider: string): boolean {
  return SIZE_FIXING_PROVIDERS.includes(provider);
}
