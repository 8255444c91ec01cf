import { describe, expect, it } from 'vitest';
import { explainCudaFailure, explainLinkerError } from '../../src/engine/graphs/native-libraries.ts';

describe('explainLinkerError', () => {
  it.each([
    ['libcudnn.so.9', 'install cuDNN 9,'],
    ['libcublasLt.so.13', 'install CUDA 13,'],
    ['libcurand.so.10', 'install CUDA,'],
    ['libnvinfer.so.10', 'install TensorRT 10,'],
    ['libcuda.so.1', 'NVIDIA driver'],
    ['libsomething.so', 'the package that contains it'],
  ])('names the missing library %s and what to install', (name, advice) => {
    const message = `${name}: cannot open shared object file: No such file or directory`;
    const explanation = explainLinkerError(message);
    expect(explanation).toContain(`${name} is missing`);
    expect(explanation).toContain(advice);
  });

  it('quotes the linker if the library is there and damaged', () => {
    expect(explainLinkerError('libcudnn.so.9: file too short')).toContain('libcudnn.so.9: file too short');
  });
});

describe('explainCudaFailure', () => {
  /** As onnxruntime-node 1.30.0 reports it. */
  const report = (failure: string) =>
    '/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:146 std::conditional_t<THRW, void, ' +
    'onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*) [with ERRTYPE = cudaError; ' +
    `bool THRW = true] CUDA failure ${failure} ; GPU=-1 ; hostname=vm ; file=/x.cc ; line=352 ; expr=y;`;

  it.each([
    ['35: CUDA driver version is insufficient for CUDA runtime version', 'driver is too old', 'driver 580'],
    ['2: out of memory', 'its memory is taken', 'nvidia-smi lists the processes'],
    ['100: no CUDA-capable device is detected', 'there is no such GPU', 'FINDERY_DEVICE'],
    ['101: invalid device ordinal', 'there is no such GPU', 'FINDERY_DEVICE'],
    ['719: unspecified launch failure', 'CUDA failure 719: unspecified launch failure;', 'nvidia-smi'],
  ])('says what "%s" means and what to do', (failure, meaning, advice) => {
    const explanation = explainCudaFailure(report(failure));
    expect(explanation).toContain(meaning);
    expect(explanation).toContain(advice);
    expect(explanation).toContain(`CUDA failure ${failure}`);
    expect(explanation).not.toMatch(/hostname|cuda_call/);
  });

  it('leaves other messages alone', () => {
    expect(explainCudaFailure('Failed to load shared library')).toBeNull();
  });
});
