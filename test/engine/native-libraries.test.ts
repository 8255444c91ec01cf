import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  explainCudaFailure,
  explainLinkerError,
  findMissingLibrary,
  findOtherRuntime,
} from '../../src/engine/graphs/native-libraries.ts';

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
    ['209: no kernel image is available for execution', 'no kernels for this card', 'newer card'],
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

const isLinux = process.platform === 'linux' && process.arch === 'x64';
const OWN = join(
  dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json')),
  ...['bin', 'napi-v6', 'linux', 'x64'],
);
const ADDON = join(OWN, 'onnxruntime_binding.node');

describe.runIf(isLinux)('the libraries of a folder in LD_LIBRARY_PATH', () => {
  const root = mkdtempSync(join(tmpdir(), 'findery-libraries-'));
  afterAll(() => rmSync(root, { recursive: true }));
  /** A folder with a link to this installation's runtime, and a library of CUDA. */
  function makeFolder(writeLibrary: (path: string) => void): string {
    const folder = mkdtempSync(join(root, 'lib-'));
    symlinkSync(join(OWN, 'libonnxruntime.so.1'), join(folder, 'libonnxruntime.so.1'));
    writeFileSync(join(folder, 'libonnxruntime_providers_shared.so'), '');
    writeLibrary(join(folder, 'libonnxruntime_providers_cuda.so'));
    vi.stubEnv('LD_LIBRARY_PATH', folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    return folder;
  }

  it('are of this architecture', async () => {
    makeFolder((path) => {
      const library = readFileSync(ADDON);
      library.writeUInt16LE(0xb7, 18); // the machine of an ELF file: AArch64
      writeFileSync(path, library);
    });
    expect(await findMissingLibrary('cuda')).toMatch(
      /libonnxruntime_providers_cuda\.so is a library of another architecture than x64; .*gpu setup/,
    );
  });

  it('are complete: half a download is called damaged', async () => {
    makeFolder((path) => {
      copyFileSync(ADDON, path);
      truncateSync(path, 100_000);
    });
    expect(await findMissingLibrary('cuda')).toMatch(/_cuda\.so: .*damaged|_cuda\.so: file too short/);
  });

  it('belong to one version of ONNX Runtime', async () => {
    const folder = mkdtempSync(join(root, 'other-'));
    expect(await findOtherRuntime(folder)).toBeNull();
    copyFileSync(join(OWN, 'libonnxruntime.so.1'), join(folder, 'libonnxruntime.so.1'));
    expect(await findOtherRuntime(`/nowhere:${folder}`)).toBeNull();
    copyFileSync(ADDON, join(folder, 'libonnxruntime.so.1'));
    expect(await findOtherRuntime(`/nowhere:${folder}`)).toMatch(
      /another ONNX Runtime, .*other-.* works with its own only: take .*other-.* out of LD_LIBRARY_PATH/,
    );
  });
});
