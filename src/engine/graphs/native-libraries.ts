import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

/** What libraries belong to, by how their names begin; and whether their version is the product's. */
const PRODUCTS: readonly (readonly [prefix: string, product: string, sameVersion: boolean])[] = [
  ['libcudnn', 'cuDNN', true],
  ['libcublas', 'CUDA', true],
  ['libcudart', 'CUDA', true],
  ['libnvrtc', 'CUDA', true],
  ['libcufft', 'CUDA', false],
  ['libcurand', 'CUDA', false],
  ['libnvinfer', 'TensorRT', true],
  ['libnvonnxparser', 'TensorRT', true],
];

const PACKAGE = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
/** Where onnxruntime-node keeps its libraries for this platform. */
const LIBRARIES = join(dirname(PACKAGE), 'bin', 'napi-v6', process.platform, process.arch);

/**
 * Why a provider that ONNX Runtime loads from a library of its own (`cuda`, `tensorrt`) can't be loaded, in words; null: its libraries are all there.
 * ONNX Runtime itself only says that it failed.
 */
export async function missingLibrary(provider: string): Promise<string | null> {
  const [prefix, suffix] = process.platform === 'win32' ? ['', '.dll'] : ['lib', '.so'];
  const names = ['shared', provider].map((part) => `${prefix}onnxruntime_providers_${part}${suffix}`);
  const absent = names.find((name) => !existsSync(join(LIBRARIES, name)));
  if (absent) {
    return (
      `onnxruntime-node was installed without its libraries for GPUs: ${absent} is not in ${relative(process.cwd(), LIBRARIES) || LIBRARIES}. ` +
      '`node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12` fetches them (Linux on x64; from nuget.org)'
    );
  }
  const said = await dynamicLinkerError(join(LIBRARIES, names[1]));
  return said && explainLinkerError(said);
}

/** What the dynamic linker says of a library; null when it loads. Asked in a process of its own, which may die of it. */
async function dynamicLinkerError(path: string): Promise<string | null> {
  const script =
    'try { process.dlopen({ exports: {} }, process.argv[1]); } catch (error) { console.log(error.message); }';
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, path], {
    timeout: 60_000,
  }).catch(() => ({ stdout: '' }));
  // A library that is no addon of Node's loads and is then refused: all that it needs was there.
  return /self-register/.test(stdout) || stdout.trim() === '' ? null : stdout.trim();
}

/** The dynamic linker's words ("libcudnn.so.9: cannot open shared object file ...") with what to do. */
export function explainLinkerError(said: string): string {
  const { name, base, version } =
    /(?<name>(?<base>lib[\w-]+)\.so(?:\.(?<version>\d+)[.\d]*)?): cannot open shared object file/.exec(said)
      ?.groups ?? {};
  if (!name) return `its library can't be loaded: ${said}`;
  if (base === 'libcuda')
    return `${name} is missing: the NVIDIA driver is not installed, or not passed into the container`;
  const [, product = 'the package that it comes with', sameVersion = false] =
    PRODUCTS.find(([prefix]) => base.startsWith(prefix)) ?? [];
  const what = sameVersion && version ? `${product} ${version}` : product;
  return `${name} is missing; install ${what}, or put the folder that holds it into LD_LIBRARY_PATH`;
}
