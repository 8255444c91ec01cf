import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import ort from 'onnxruntime-node';
import { exists } from '../../bundles/files.ts';
import { fusedGraph } from '../../bundles/graph-file.ts';
import {
  DeviceLostError,
  EngineError,
  isDeviceLost,
  isOutOfMemory,
  OutOfMemoryError,
  withoutSourceLocations,
} from '../errors.ts';
import { type EngineOptions, postNotice } from '../messages.ts';
import { toFloat16 } from './float16.ts';
import type { Floats, Graph, GraphValue, Tensor } from './graph.ts';
import { explainCudaFailure } from './native-libraries.ts';
import { fixSizes, readHeader } from './onnx-file.ts';
import { listCpuNodes, takeProfile } from './placement.ts';
import { fixesSizes } from './provider-traits.ts';
import { sessionProvider } from './providers.ts';
import { namesOfSizes, openSizedGraph, type Sizes } from './sized-graph.ts';

let millisecondsInRuns = 0;

/** Milliseconds that this thread has spent in graph runs. */
export function graphMilliseconds(): number {
  return millisecondsInRuns;
}

/**
 * Opens an ONNX graph. Only this file and providers.ts use ONNX Runtime. Where the provider gains
 * from it, a graph with free sizes is opened at its first run, for the sizes of that run.
 * @param file path of the plain graph; on CUDA its fused variant is opened if there is one
 * @param options the first execution provider is used. Nodes that it has no kernels for run on the
 *   CPU only if `cpu` is listed, too.
 * @throws EngineError if the file is no graph, or the provider cannot run it; OutOfMemoryError if
 *   memory ran out
 */
export async function openGraph(file: string, options: EngineOptions): Promise<Graph> {
  const [provider] = options.executionProviders;
  const path = await graphForProvider(file, provider);
  if (options.fixSizes ?? fixesSizes(provider)) {
    const header = await readFile(path)
      .then(readHeader)
      .catch(() => null); // ONNX Runtime says what is wrong with a damaged file.
    if (header && namesOfSizes(header.inputs).length > 0)
      return openSizedGraph(path, header, async (sizes) => openFile(path, options, sizes));
  }
  return openFile(path, options);
}

/** @param sizes free sizes of the graph to fix */
async function openFile(path: string, options: EngineOptions, sizes?: Sizes): Promise<Graph> {
  const [provider] = options.executionProviders;
  const { session, checkPlacement } = await openSession(path, options, sizes).catch((error: Error) => {
    const reason = withoutSourceLocations(error.message);
    if (isDeviceLost(error)) throw deviceLost(provider, options, error);
    if (isOutOfMemory(error))
      throw new OutOfMemoryError(`There is not enough memory to open ${path}: ${reason}.`);
    throw new EngineError(
      `The graph ${path} can't be opened on ${provider}: ${reason}. Copy or export the file again if it is ` +
        'damaged; check FINDERY_PROVIDERS if the cause is the provider.',
    );
  });
  const inputs = describeValues(session.inputMetadata);
  const halves = new Set(inputs.filter(({ type }) => type === 'float16').map(({ name }) => name));
  return {
    path,
    inputs,
    outputs: describeValues(session.outputMetadata),
    async run(feeds, wanted) {
      const tensors = Object.fromEntries(
        Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor, halves.has(name))]),
      );
      const began = performance.now();
      const results = await session.run(tensors, [...wanted]).catch((error: Error) => {
        if (isDeviceLost(error)) throw deviceLost(provider, options, error);
        const message = `The graph ${path} failed: ${withoutSourceLocations(error.message)}.`;
        throw isOutOfMemory(error) ? new OutOfMemoryError(message) : new EngineError(message);
      });
      millisecondsInRuns += performance.now() - began;
      await checkPlacement?.();
      return Object.fromEntries(wanted.map((name) => [name, fromOrt(results[name])]));
    },
    release: () => session.release(),
  };
}

function deviceLost(provider: string, { deviceId = 0 }: EngineOptions, error: Error): DeviceLostError {
  const reason = explainCudaFailure(error.message) ?? withoutSourceLocations(error.message);
  return new DeviceLostError(
    `The GPU ${provider}:${deviceId} does not answer any more (${reason}). Work goes on in a new process, ` +
      "or on another worker. If it happens again, look at the driver's log (dmesg | grep -i xid) and the " +
      "card's power and temperature.",
  );
}

/** The file to open for a provider: on CUDA, `model_cuda.onnx` beside `model.onnx` if it exists. */
export async function graphForProvider(path: string, provider: string): Promise<string> {
  const fused = fusedGraph(path);
  return provider === 'cuda' && (await exists(fused)) ? fused : path;
}

/** ONNX Runtime's error for a session that may not leave nodes to the CPU but would have to. */
const NODES_LEFT_TO_CPU = /assigned to the default CPU EP/;

interface OpenSession {
  readonly session: ort.InferenceSession;
  /**
   * Call after each run. Rejects with EngineError if the CPU did more than arithmetic on shapes.
   */
  readonly checkPlacement?: () => Promise<void>;
}

/** Opens a session, with all of its nodes on the provider if possible. */
async function openSession(path: string, options: EngineOptions, sizes?: Sizes): Promise<OpenSession> {
  const [provider] = options.executionProviders;
  const model = sizes && fixSizes(await readFile(path), sizes);
  // A graph in memory has no folder in which its weights would be looked for.
  const folder = sizes && { model_external_initializers_file_folder_path: dirname(path) };
  const create = (changes: ort.InferenceSession.SessionOptions, entries: object = {}) => {
    const extra = { session: { ...folder, ...entries } };
    const all = { ...sessionOptions(options), ...changes, extra };
    return model ? ort.InferenceSession.create(model, all) : ort.InferenceSession.create(path, all);
  };
  // Threads that spin while they wait would take cores from the API, Redis and other workers.
  if (provider === 'cpu') return { session: await create({}, { intra_op: { allow_spinning: '0' } }) };
  try {
    // The session may be refused below, which is no error to write to stderr: level 4 is fatal
    // only.
    return {
      session: await create({ logSeverityLevel: 4 }, { disable_cpu_ep_fallback: '1' }),
    };
  } catch (error) {
    if (!NODES_LEFT_TO_CPU.test((error as Error).message)) throw error;
  }
  if (options.executionProviders.includes('cpu')) {
    postNotice(
      `Parts of ${path} run on the CPU, because ${provider} has no kernels for them and ` +
        'FINDERY_PROVIDERS lists cpu, too.',
    );
    return { session: await create({}) };
  }
  const prefix = join(tmpdir(), `findery-placement-${randomUUID()}`);
  const session = await create({ enableProfiling: true, profileFilePrefix: prefix });
  let refusal: EngineError | null | undefined;
  return {
    session,
    async checkPlacement() {
      if (refusal === undefined) {
        session.endProfiling();
        refusal = judgePlacement(await takeProfile(prefix), path, provider);
      }
      if (refusal) throw refusal;
    },
  };
}

/** The error for a graph that runs partly on the CPU; null for arithmetic on shapes only. */
function judgePlacement(profile: string | null, path: string, provider: string): EngineError | null {
  if (profile === null) {
    postNotice(`${tmpdir()} can't be written, so it is unknown which parts of ${path} run on the CPU.`);
    return null;
  }
  const nodes = listCpuNodes(profile);
  if (nodes.length === 0) return null;
  return new EngineError(
    `Parts of ${path} have no kernels on ${provider} and would run on the CPU: ` +
      `${nodes.slice(0, 5).join(', ')}. Export the model again for this provider, or accept it with ` +
      `FINDERY_PROVIDERS=${provider},cpu.`,
  );
}

function sessionOptions({
  executionProviders,
  deviceId = 0,
  threads,
}: EngineOptions): ort.InferenceSession.SessionOptions {
  const [provider] = executionProviders;
  return {
    executionProviders: [sessionProvider(provider, deviceId)],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    // On the CPU a planned memory layout needs half as much memory again and saves no time
    // (Stable Diffusion 1.5 at 512x512: 10.4 GiB instead of 7.3).
    enableMemPattern: provider !== 'cpu',
  };
}

function toOrt(tensor: Tensor, isHalf: boolean): ort.Tensor {
  switch (tensor.type) {
    case 'float32':
      return isHalf
        ? new ort.Tensor('float16', toFloat16(tensor.data), tensor.dims)
        : new ort.Tensor('float32', tensor.data, tensor.dims);
    case 'float16':
      return new ort.Tensor('float16', tensor.data, tensor.dims);
    case 'int64':
      return new ort.Tensor('int64', tensor.data, tensor.dims);
    case 'int32':
      return new ort.Tensor('int32', tensor.data, tensor.dims);
  }
}

function fromOrt({ type, data }: ort.Tensor): Floats {
  if (type === 'float32') return data as Float32Array;
  return type === 'float16' ? (data as Uint16Array) : Float32Array.from(data as Float64Array);
}

function describeValues(values: readonly ort.InferenceSession.ValueMetadata[]): GraphValue[] {
  return values.map((value) =>
    value.isTensor
      ? { name: value.name, type: value.type, shape: value.shape }
      : { name: value.name, type: 'none', shape: [] },
  );
}
