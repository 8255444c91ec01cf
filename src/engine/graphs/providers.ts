import ort from 'onnxruntime-node';
import { EngineError, withoutSourceLocations } from '../errors.ts';
import { explainCudaFailure, findMissingLibrary } from './native-libraries.ts';
import { takesNumber } from './provider-traits.ts';

/** The hardware that graphs run on. */
export interface Device {
  /** ONNX Runtime execution provider, such as `cuda` or `cpu`. */
  readonly provider: string;
  /** The provider, with the number of the GPU if it takes one: `cuda:0`, `webgpu`, `cpu`. */
  readonly name: string;
  /** Why each provider that was listed before this one cannot be used. */
  readonly passedOver: readonly string[];
}

/** The provider as the session option `executionProviders` takes it. */
export function sessionProvider(
  provider: string,
  deviceId: number,
): ort.InferenceSession.ExecutionProviderConfig {
  // The types list each provider separately; those with a number differ in name only.
  return takesNumber(provider) ? { name: provider as 'cuda', deviceId } : provider;
}

/**
 * The first of the `wanted` providers that works on this machine, tried with a graph of one sum.
 * @throws EngineError with the reason of each if none works
 */
export async function chooseDevice(wanted: readonly string[], deviceId: number): Promise<Device> {
  // ONNX Runtime would also write about missing libraries to stderr; the reason below has them.
  ort.env.logLevel = 'fatal';
  const passedOver: string[] = [];
  for (const provider of wanted) {
    const reason = provider === 'cpu' ? null : await tryProvider(provider, deviceId);
    const name = takesNumber(provider) ? `${provider}:${deviceId}` : provider;
    if (reason === null) return { provider, name, passedOver };
    passedOver.push(`${name}: ${reason}`);
  }
  throw new EngineError(
    `FINDERY_PROVIDERS is "${wanted.join(',')}", and none of it can be used here. ` +
      `${passedOver.map((line) => `${line}.`).join(' ')} ` +
      `onnxruntime-node ${ort.env.versions.node ?? ''} has ${installedProviders().join(', ')} ` +
      `on ${process.platform} ${process.arch}. Only the listed providers are tried: with ` +
      `FINDERY_PROVIDERS=${[...wanted, 'cpu'].join(',')} the CPU is used instead.`,
  );
}

function installedProviders(): string[] {
  return ort.listSupportedBackends().map(({ name }) => name);
}

/** A graph that computes y = x + x for one float32. */
const SUM_GRAPH = Buffer.from(
  'CAgSADo1Cg4KAXgKAXgSAXkiA0FkZBIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0=',
  'base64',
);

/** Why a provider cannot be used; null if it works. */
async function tryProvider(provider: string, deviceId: number): Promise<string | null> {
  if (!installedProviders().includes(provider))
    return `onnxruntime-node has no such provider on ${process.platform} ${process.arch}`;
  try {
    const session = await ort.InferenceSession.create(SUM_GRAPH, {
      executionProviders: [sessionProvider(provider, deviceId)],
      logSeverityLevel: 4,
    });
    const { y } = await session.run({ x: new ort.Tensor('float32', [1.5], [1]) });
    await session.release();
    return y.data[0] === 3 ? null : `it computes 1.5 + 1.5 = ${y.data[0]}`;
  } catch (error) {
    return explainFailure(provider, (error as Error).message);
  }
}

async function explainFailure(provider: string, message: string): Promise<string> {
  if (/failed to load shared library/i.test(message) && ['cuda', 'tensorrt'].includes(provider)) {
    const missing = await findMissingLibrary(provider);
    if (missing) return missing;
  }
  const failure = explainCudaFailure(message);
  if (failure !== null) return failure;
  if (/No supported adapters|Failed to get a WebGPU adapter/.test(message)) {
    const advice =
      '; install libvulkan1 and the Vulkan driver of the GPU, and in containers of NVIDIA set ' +
      'NVIDIA_DRIVER_CAPABILITIES=all';
    return `no GPU was found that WebGPU can use${process.platform === 'linux' ? advice : ''}`;
  }
  const reason = withoutSourceLocations(message);
  if (/no CUDA-capable device|invalid device ordinal|cudaErrorNoDevice|cudaErrorInvalidDevice/i.test(message))
    return `there is no such GPU (${reason}); nvidia-smi lists the GPUs, and FINDERY_DEVICE selects one`;
  return reason;
}
