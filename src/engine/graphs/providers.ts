import ort from 'onnxruntime-node';
import { EngineError } from './engine-error.ts';
import { missingLibrary } from './native-libraries.ts';

/** Where graphs run. */
export interface Device {
  readonly provider: string;
  /** With the number of the GPU where the provider goes by numbers: `cuda:0`, `webgpu`, `cpu`. */
  readonly name: string;
  /** Why each provider that was named before it can't be used. */
  readonly passedOver: readonly string[];
}

/** Providers that take the number of a GPU. */
const NUMBERED = ['cuda', 'tensorrt', 'dml'];
/** Providers that find their kernels anew, or compile them, for each shape of inputs: few shapes are run, all of them before jobs are taken. */
const TUNED = ['cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'];

export function tunesShapes(provider: string): boolean {
  return TUNED.includes(provider);
}

/** What `executionProviders` of a session takes. */
export function sessionProvider(
  provider: string,
  deviceId: number,
): ort.InferenceSession.ExecutionProviderConfig {
  return NUMBERED.includes(provider) ? { name: provider as 'cuda', deviceId } : provider;
}

/**
 * The first of the `wanted` providers that works here, tried out on a graph of one sum.
 * @throws EngineError with the reason of each when none does
 */
export async function chooseDevice(wanted: readonly string[], deviceId: number): Promise<Device> {
  // What it would write to stderr of a library that is missing is in the message, with what to do.
  ort.env.logLevel = 'fatal';
  const passedOver: string[] = [];
  for (const provider of wanted) {
    const reason = provider === 'cpu' ? null : await whyNot(provider, deviceId);
    const name = NUMBERED.includes(provider) ? `${provider}:${deviceId}` : provider;
    if (reason === null) return { provider, name, passedOver };
    passedOver.push(`${name}: ${reason}`);
  }
  const has = ort.listSupportedBackends().map(({ name }) => name);
  throw new EngineError(
    `FINDERY_PROVIDERS is "${wanted.join(',')}", and none of it can be used here. ${passedOver.map((line) => `${line}.`).join(' ')} ` +
      `onnxruntime-node ${ort.env.versions.node ?? ''} has ${has.join(', ')} on ${process.platform} ${process.arch}. ` +
      `Nothing else is tried, for nothing else is named: FINDERY_PROVIDERS=${[...wanted, 'cpu'].join(',')} goes on with the CPU instead.`,
  );
}

/** y = x + x for one float32. */
const SUM = Buffer.from(
  'CAgSADo1Cg4KAXgKAXgSAXkiA0FkZBIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0=',
  'base64',
);

/** null: it works. */
async function whyNot(provider: string, deviceId: number): Promise<string | null> {
  const has = ort.listSupportedBackends().map(({ name }) => name);
  if (!has.includes(provider))
    return `onnxruntime-node has no such provider on ${process.platform} ${process.arch}`;
  try {
    const session = await ort.InferenceSession.create(SUM, {
      executionProviders: [sessionProvider(provider, deviceId)],
      logSeverityLevel: 4,
    });
    const { y } = await session.run({ x: new ort.Tensor('float32', [1.5], [1]) });
    await session.release();
    return y.data[0] === 3 ? null : `it computes 1.5 + 1.5 = ${y.data[0]}`;
  } catch (error) {
    return explain(provider, (error as Error).message);
  }
}

async function explain(provider: string, said: string): Promise<string> {
  if (/failed to load shared library/i.test(said) && ['cuda', 'tensorrt'].includes(provider)) {
    const missing = await missingLibrary(provider);
    if (missing) return missing;
  }
  if (/No supported adapters|Failed to get a WebGPU adapter/.test(said)) {
    const vulkan =
      'install libvulkan1 and the Vulkan driver of the GPU, and in containers of NVIDIA set NVIDIA_DRIVER_CAPABILITIES=all';
    return `no GPU was found that WebGPU can use${process.platform === 'linux' ? `; ${vulkan}` : ''}`;
  }
  if (/no CUDA-capable device|invalid device ordinal|cudaErrorNoDevice|cudaErrorInvalidDevice/i.test(said))
    return `there is no such GPU (${shorten(said)}); nvidia-smi lists those that there are, FINDERY_DEVICE picks one`;
  return shorten(said);
}

/** Without the places in ONNX Runtime's source that its messages hold. */
export function shorten(said: string): string {
  return said
    .replace(/\/\S+\.(?:cc|cpp|cu|h)(?::\d+)? .*?\)(?::?) (?=[A-Z])/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/\.$/, '');
}
