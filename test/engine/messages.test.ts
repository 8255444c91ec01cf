import { describe, expect, it } from 'vitest';
import { EngineError, isOutOfMemory, OutOfMemoryError } from '../../src/engine/graphs/engine-error.ts';
import { explainLinkerError } from '../../src/engine/graphs/native-libraries.ts';
import { shorten } from '../../src/engine/graphs/providers.ts';

const ARENA =
  "Non-zero status code returned while running Conv node. Name:'conv' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 100663296\n";

describe('memory that ran out', () => {
  it.each([
    ARENA,
    "Non-zero status code returned while running Conv node. Name:'conv2d_10_nchwc' Status Message: std::bad_alloc",
    'bad allocation',
    'CUDA failure 2: out of memory ; GPU=0',
    'CUDA error cudaErrorMemoryAllocation:out of memory',
    'CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0',
    'CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED',
    'VK_ERROR_OUT_OF_DEVICE_MEMORY',
    'Array buffer allocation failed',
  ])('is known by its words: %s', (message) => {
    expect(isOutOfMemory(new Error(message))).toBe(true);
  });

  it('is not seen in other failures', () => {
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

  it('is told without places in the source of ONNX Runtime', () => {
    expect(shorten(ARENA)).toBe(
      "Non-zero status code returned while running Conv node. Name:'conv' Status Message: Failed to allocate memory for requested buffer of size 100663296",
    );
    expect(
      shorten(
        '/onnxruntime_src/onnxruntime/core/providers/webgpu/webgpu_context.cc:136 onnxruntime::webgpu::WebGpuContext::Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)::<lambda()> adapter_result.status == wgpu::RequestAdapterStatus::Success was false. Failed to get a WebGPU adapter: No supported adapters\n',
      ),
    ).toMatch(/No supported adapters$/);
  });
});

describe('a library that is missing', () => {
  it.each([
    ['libcudnn.so.9', 'install cuDNN 9,'],
    ['libcublasLt.so.13', 'install CUDA 13,'],
    ['libcurand.so.10', 'install CUDA,'],
    ['libnvinfer.so.10', 'install TensorRT 10,'],
    ['libcuda.so.1', 'NVIDIA driver'],
    ['libsomething.so', 'the package that it comes with'],
  ])('%s is named with what to do', (name, advice) => {
    const said = explainLinkerError(`${name}: cannot open shared object file: No such file or directory`);
    expect(said).toContain(`${name} is missing`);
    expect(said).toContain(advice);
  });

  it('that is there and broken is told in the words of the linker', () => {
    expect(explainLinkerError('libcudnn.so.9: file too short')).toContain('libcudnn.so.9: file too short');
  });
});
