import { describe, expect, it } from 'vitest';
import { explainLinkerError } from '../../src/engine/graphs/native-libraries.ts';

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
