import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

/** Products by the prefix of their libraries, and whether a library has the product's version. */
const PRODUCTS: readonly (readonly [prefix: string, product: string, hasProductVersion: boolean])[] = [
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
/** The folder of onnxruntime-node's libraries for this platform. */
const OWN_LIBRARIES = join(dirname(PACKAGE), 'bin', 'napi-v6', process.platform, process.arch);

/** The library that loads the providers. */
const RUNTIME = 'libonnxruntime.so.1';
const FETCH_AGAIN = '`bin/findery gpu setup` fetches the right one';

/**
 * Explains an error of the CUDA runtime, which ONNX Runtime reports as "CUDA failure 35: CUDA
 * driver version is insufficient for CUDA runtime version ; GPU=0 ; ..." behind names of C++.
 * @returns null if the message holds no such error
 */
export function explainCudaFailure(message: string): string | null {
  const [, code, text] = /CUDA failure (\d+): (.+?) *(?:;|$)/.exec(message) ?? [];
  const failure = `CUDA failure ${code}: ${text}`;
  switch (code) {
    case undefined:
      return null;
    case '2':
      return `its memory is taken (${failure}); nvidia-smi lists the processes that hold it`;
    case '35':
      return `the NVIDIA driver is too old (${failure}); CUDA 13 needs driver 580 or newer`;
    case '209':
      return `the CUDA libraries have no kernels for this card (${failure}); use a newer card`;
    case '100':
    case '101':
      return `there is no such GPU (${failure}); nvidia-smi lists the GPUs, and FINDERY_DEVICE selects one`;
    default:
      return `${failure}; nvidia-smi shows the state of the GPU`;
  }
}

/**
 * The folder that libonnxruntime is loaded from; it looks for its providers there. The dynamic
 * linker prefers LD_LIBRARY_PATH to the folder of onnxruntime-node's addon.
 */
function findLibraries(searchPath = process.env.LD_LIBRARY_PATH ?? ''): string {
  const folders = searchPath.split(':').filter(Boolean);
  return folders.find((folder) => existsSync(join(folder, RUNTIME))) ?? OWN_LIBRARIES;
}

/**
 * Finds an ONNX Runtime in LD_LIBRARY_PATH that is not the one of onnxruntime-node, such as that of
 * another program. Loading both ends the process, so this is looked at before.
 * @param searchPath LD_LIBRARY_PATH of the process
 * @returns what is wrong and what to do; null if there is none
 */
export async function findOtherRuntime(searchPath = process.env.LD_LIBRARY_PATH): Promise<string | null> {
  const folder = findLibraries(searchPath);
  const [found, own] = [join(folder, RUNTIME), join(OWN_LIBRARIES, RUNTIME)];
  if (folder === OWN_LIBRARIES || !existsSync(own)) return null;
  if ((await realpath(found)) === (await realpath(own))) return null;
  if ((await readFile(found)).equals(await readFile(own))) return null;
  const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
  return (
    `LD_LIBRARY_PATH has another ONNX Runtime, ${found}, and onnxruntime-node ${version} works with its ` +
    `own only: take ${folder} out of LD_LIBRARY_PATH`
  );
}

/**
 * Explains why the library of a provider (`cuda`, `tensorrt`) cannot be loaded. ONNX Runtime itself
 * reports only that it failed.
 * @returns the reason with what to do; null if the library can be loaded
 */
export async function findMissingLibrary(provider: string): Promise<string | null> {
  const [prefix, suffix] = process.platform === 'win32' ? ['', '.dll'] : ['lib', '.so'];
  const names = ['shared', provider].map((part) => `${prefix}onnxruntime_providers_${part}${suffix}`);
  const libraries = findLibraries();
  const absent = names.find((name) => !existsSync(join(libraries, name)));
  if (absent) {
    const folder = relative(process.cwd(), libraries) || libraries;
    return (
      `onnxruntime-node comes without its libraries for GPUs: ${absent} is not in ${folder}. ` +
      '`bin/findery gpu setup` fetches those for CUDA (Linux on x64)'
    );
  }
  const library = join(libraries, names[1]);
  const message = await dynamicLinkerError(library);
  // The linker does not tell a library of another architecture from none.
  if (message?.startsWith(`${library}: cannot open shared object file`))
    return `${library} is a library of another architecture than ${process.arch}; ${FETCH_AGAIN}`;
  return message && explainLinkerError(message);
}

/**
 * The dynamic linker's message about a library; null if it loads. A child process tries it, because
 * loading may crash.
 */
async function dynamicLinkerError(path: string): Promise<string | null> {
  const script =
    'try { process.dlopen({ exports: {} }, process.argv[1]); } catch (error) { console.log(error.message); }';
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, path], {
    timeout: 60_000,
  }).catch(({ signal }: { signal?: string }) => ({
    stdout: signal ? `${path}: loading it ends a process (${signal}), so it is damaged; ${FETCH_AGAIN}` : '',
  }));
  // A library that is no Node addon loads, and is then refused for not registering itself.
  return /self-register/.test(stdout) || stdout.trim() === '' ? null : stdout.trim();
}

/**
 * Explains a message of the dynamic linker, such as
 * "libcudnn.so.9: cannot open shared object file: No such file or directory".
 * @returns the missing library with what to install
 */
export function explainLinkerError(message: string): string {
  const { name, base, version } =
    /(?<name>(?<base>lib[\w-]+)\.so(?:\.(?<version>\d+)[.\d]*)?): cannot open shared object file/.exec(
      message,
    )?.groups ?? {};
  if (!name) return `its library can't be loaded: ${message}`;
  if (base === 'libcuda')
    return `${name} is missing: the NVIDIA driver is not installed, or not passed into the container`;
  const [, product = 'the package that contains it', hasProductVersion = false] =
    PRODUCTS.find(([prefix]) => base.startsWith(prefix)) ?? [];
  const what = hasProductVersion && version ? `${product} ${version}` : product;
  return `${name} is missing; install ${what}, or put the folder that holds it into LD_LIBRARY_PATH`;
}
