import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Config } from '../../config/config.ts';
import { findOtherRuntime } from '../../engine/graphs/native-libraries.ts';
import { formatBytes } from '../table.ts';
import { describeCard, explainNvidia, type Nvidia } from './driver.ts';
import {
  findLibraryProblem,
  isSupportedPlatform,
  libraryEnvironment,
  libraryFolder,
} from './library-folder.ts';
import { readWheels } from './wheels.ts';

/** Time that a provider may take to open a graph of one sum. */
const TRY_TIMEOUT_MS = 120_000;

/** Whether CUDA can be used. */
export interface CudaState {
  /** `absent`: neither the libraries nor a card are there. */
  readonly state: 'ready' | 'missing' | 'absent';
  /** Card, driver and memory; or the one thing that is missing first, with how to get it. */
  readonly message: string;
}

/**
 * Finds the first thing that CUDA lacks: the platform, the libraries, the driver, the card, or a
 * session on it. Libraries that came another way than by `findery gpu setup` count.
 */
export async function checkCuda(config: Config, nvidia: Nvidia): Promise<CudaState> {
  const missing = (message: string): CudaState => ({ state: 'missing', message });
  if (!isSupportedPlatform())
    return missing(
      `its libraries exist for Linux on x64 only, and this is ${process.platform} on ${process.arch}`,
    );
  const wheels = await readWheels();
  const problem = await findLibraryProblem(await libraryFolder(config), wheels);
  const card = explainNvidia(nvidia, config.deviceId);
  const isInstalled = problem === null || (await explainProvider(config, 'cuda')) === null;
  if (!isInstalled) {
    const size = formatBytes(wheels.reduce((sum, { bytes }) => sum + bytes, 0));
    const message = `${problem}: run findery gpu setup (${size} at most)`;
    return {
      state: /not installed/.test(problem ?? '') && !nvidia.isCardInSlot ? 'absent' : 'missing',
      message,
    };
  }
  if (card !== null) return missing(`the libraries are in place; ${card}`);
  const failure = problem === null ? await explainProvider(config, 'cuda') : null;
  if (failure !== null) return missing(failure);
  return { state: 'ready', message: `ready (${describeCard(nvidia, config.deviceId)})` };
}

/**
 * Opens a graph of one sum on a provider, in a process with the environment of a worker.
 * @returns why that fails; null if it works
 */
export async function explainProvider(config: Config, provider: string): Promise<string | null> {
  const wanted = { ...config, executionProviders: [provider] };
  const env = (await libraryEnvironment(wanted, process.env)) ?? process.env;
  const otherRuntime = await findOtherRuntime(env.LD_LIBRARY_PATH);
  if (otherRuntime !== null) return otherRuntime;
  const args = [
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(new URL('./try-provider.ts', import.meta.url)),
    provider,
    String(config.deviceId),
  ];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: TRY_TIMEOUT_MS });
    return stdout.trim() || null;
  } catch (error) {
    const { signal, stderr = '' } = error as { signal?: string; stderr?: string };
    return (
      stderr.trim().split('\n').at(-1) || `the process that tried it ended (${signal ?? 'unknown reason'})`
    );
  }
}
