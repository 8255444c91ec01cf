import { describe, expect, it } from 'vitest';
import {
  EngineError,
  isOutOfMemory,
  OutOfMemoryError,
  withoutSourceLocations,
} from '../../src/engine/errors.ts';

const FAILED_NODE = "Non-zero status code returned while running Conv node. Name:'conv' Status Message: ";
const ARENA =
  `${FAILED_NODE}/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 ` +
  'void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) ' +
  'Failed to allocate memory for requested buffer of size 100663296\n';
const NO_ADAPTER =
  '/onnxruntime_src/onnxruntime/core/providers/webgpu/webgpu_context.cc:136 ' +
  'onnxruntime::webgpu::WebGpuContext::Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)' +
  '::<lambda()> adapter_result.status == wgpu::RequestAdapterStatus::Success was false. ' +
  'Failed to get a WebGPU adapter: No supported adapters\n';

describe('isOutOfMemory', () => {
  it.each([
    ARENA,
    "Non-zero status code returned while running Conv node. Name:'conv2d_10_nchwc' " +
      'Status Message: std::bad_alloc',
    'bad allocation',
    'CUDA failure 2: out of memory ; GPU=0',
    'CUDA error cudaErrorMemoryAllocation:out of memory',
    'CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0',
    'CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED',
    'VK_ERROR_OUT_OF_DEVICE_MEMORY',
    'Array buffer allocation failed',
  ])('recognizes the message of an allocator: %s', (message) => {
    expect(isOutOfMemory(new Error(message))).toBe(true);
  });

  it('is false for other failures', () => {
    for (const message of [
      'The graph a.onnx failed: Got invalid dimensions for input: sample',
      'CUBLAS_STATUS_EXECUTION_FAILED',
      'Failed to load shared library',
    ])
      expect(isOutOfMemory(new Error(message))).toBe(false);
    expect(isOutOfMemory(new EngineError('a picture with NaN'))).toBe(false);
    expect(isOutOfMemory(new OutOfMemoryError('no room'))).toBe(true);
    expect(isOutOfMemory('out of memory')).toBe(false);
  });
});

it("withoutSourceLocations removes the locations in ONNX Runtime's source", () => {
  expect(withoutSourceLocations(ARENA)).toBe(
    `${FAILED_NODE}Failed to allocate memory for requested buffer of size 100663296`,
  );
  expect(withoutSourceLocations(NO_ADAPTER)).toMatch(/No supported adapters$/);
});
