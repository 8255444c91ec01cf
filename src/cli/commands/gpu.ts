import { resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { readConfig } from '../../config/config.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { checkCuda } from '../gpu/check-cuda.ts';
import { readNvidia } from '../gpu/driver.ts';
import { isSupportedPlatform, libraryFolder, onnxRuntimeVersion } from '../gpu/library-folder.ts';
import { setUpLibraries } from '../gpu/setup.ts';
import { readWheels, type Wheel } from '../gpu/wheels.ts';

export const summary = 'fetches the libraries for NVIDIA GPUs';
export const usage = `Usage: findery gpu setup [--dry-run] [--python PROGRAM] [--wheels FOLDER]

Fetches ONNX Runtime's CUDA provider and the CUDA and cuDNN libraries from the package index of pip, in
pinned versions and checked by their hashes, into FINDERY_GPU_LIBRARIES (default: gpu in FINDERY_DATA).
Workers with FINDERY_PROVIDERS=cuda find them there. Needs Linux on x64 and a Python with pip; neither
root nor a CUDA toolkit. Run again, it checks the libraries and fetches only what is missing or damaged.

--dry-run          print the sizes, and fetch nothing
--python PROGRAM   a Python that has pip (default: python3)
--wheels FOLDER    take the wheels from a folder, for machines without a network

findery doctor says whether CUDA can be used.`;

/** `findery gpu`. */
export async function run(args: readonly string[], stop: AbortSignal): Promise<number> {
  const { positionals, values } = parseArguments(args, {
    options: { 'dry-run': { type: 'boolean' }, python: { type: 'string' }, wheels: { type: 'string' } },
    allowPositionals: true,
  });
  const [action, extra] = positionals;
  if (action !== 'setup')
    throw new UsageError(
      action === undefined ? 'An action is missing: setup.' : `There is no "gpu ${action}"; it takes setup.`,
    );
  if (extra !== undefined) throw new UsageError(`"${extra}" is not expected here.`);
  if (!isSupportedPlatform())
    throw new Error(
      `The CUDA libraries exist for Linux on x64 only, and this is ${process.platform} on ${process.arch}.`,
    );
  const config = readConfig(process.env);
  const wheels = await readWheels();
  await checkVersion(wheels);
  const bar = process.stderr.isTTY ? progressBar() : null;
  try {
    await setUpLibraries({
      folder: await libraryFolder(config),
      wheels,
      source: {
        python: values.python ?? 'python3',
        wheels: values.wheels === undefined ? null : resolve(values.wheels),
      },
      isDry: values['dry-run'] ?? false,
      stop,
      print(line) {
        bar?.stop();
        console.log(line);
      },
      onProgress: bar?.update,
    });
  } finally {
    bar?.stop();
  }
  if (values['dry-run']) return 0;
  const cuda = await checkCuda(config, await readNvidia());
  console.log(`cuda: ${cuda.message}`);
  if (cuda.state === 'ready' && !config.executionProviders.includes('cuda'))
    console.log('Start workers with FINDERY_PROVIDERS=cuda to use it.');
  return 0;
}

/** The provider has to be built for the very version of ONNX Runtime that loads it. */
async function checkVersion(wheels: readonly Wheel[]): Promise<void> {
  const installed = await onnxRuntimeVersion();
  const pinned = wheels.find(({ name }) => name === 'onnxruntime-gpu')?.version;
  if (pinned !== installed)
    throw new Error(
      `onnxruntime-node ${installed} is installed, and the CUDA libraries are those of ${pinned}. ` +
        'Run npm ci, which installs the version of package.json.',
    );
}

/** One bar for each wheel, on standard error. */
function progressBar() {
  const bar = new SingleBar(
    { format: '  {bar} {percentage}% | {wheel}', hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
  let current: Wheel | null = null;
  return {
    update(wheel: Wheel, bytes: number) {
      if (wheel !== current || !bar.isActive) bar.start(wheel.bytes, 0, { wheel: wheel.name });
      current = wheel;
      bar.update(Math.min(bytes, wheel.bytes));
    },
    stop() {
      if (bar.isActive) bar.stop();
    },
  };
}
