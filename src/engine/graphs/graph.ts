import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { exists, fusedGraph } from '../../bundles/files.ts';
import type { EngineOptions } from '../messages.ts';
import { EngineError, isOutOfMemory, OutOfMemoryError } from './engine-error.ts';
import { fromFloat16, toFloat16 } from './float16.ts';
import { notice } from './notice.ts';
import { takeProfile, workOnCpu } from './placement.ts';
import { sessionProvider, shorten } from './providers.ts';

/** An input or output of a graph, as the graph itself declares it. */
export interface Value {
  readonly name: string;
  /** float32, float16, int64, int32 ... */
  readonly type: string;
  /** Fixed sizes are numbers, free ones names. */
  readonly shape: readonly (number | string)[];
}

/** Floats are float32 here, whatever the graph computes in: they become float16 at its door where it declares that. */
export interface Tensor {
  readonly type: 'float32' | 'int64' | 'int32';
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array | Int32Array;
}

/** A graph that can be run. Runs block the thread that starts them. */
export interface Graph {
  readonly path: string;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** The outputs named in `wanted`, as float32. */
  run(
    feeds: { readonly [input: string]: Tensor },
    wanted: readonly string[],
  ): Promise<{ [output: string]: Float32Array }>;
  release(): Promise<void>;
}

let inGraphs = 0;

/** Milliseconds that this thread has spent in runs of graphs. */
export function graphMilliseconds(): number {
  return inGraphs;
}

/**
 * Opens an ONNX graph; with providers.ts the only place that knows ONNX Runtime.
 * @param options whose first execution provider is the one to use; nothing of the graph runs elsewhere in silence
 * @throws EngineError when the file is no graph, or the provider can't run it; OutOfMemoryError when there is no room for it
 */
export async function openGraph(given: string, options: EngineOptions): Promise<Graph> {
  const [provider] = options.executionProviders;
  const path = await graphFor(given, provider);
  const { session, check } = await openSession(path, options).catch((error: Error) => {
    if (isOutOfMemory(error))
      throw new OutOfMemoryError(`There is not enough memory to open ${path}: ${shorten(error.message)}.`);
    throw new EngineError(
      `The graph ${path} can't be opened on ${provider}: ${shorten(error.message)}. Copy or export the file again if it is damaged; check FINDERY_PROVIDERS if the provider is the matter.`,
    );
  });
  const inputs = describe(session.inputMetadata);
  const halves = new Set(inputs.filter(({ type }) => type === 'float16').map(({ name }) => name));
  return {
    path,
    inputs,
    outputs: describe(session.outputMetadata),
    async run(feeds, wanted) {
      const tensors = Object.fromEntries(
        Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor, halves.has(name))]),
      );
      const began = performance.now();
      const results = await session.run(tensors, [...wanted]).catch((error: Error) => {
        const message = `The graph ${path} failed: ${shorten(error.message)}.`;
        throw isOutOfMemory(error) ? new OutOfMemoryError(message) : new EngineError(message);
      });
      inGraphs += performance.now() - began;
      await check?.();
      return Object.fromEntries(wanted.map((name) => [name, fromOrt(results[name])]));
    },
    release: () => session.release(),
  };
}

/** The graph for this provider: beside `model.onnx` there may be `model_cuda.onnx`, whose fused nodes have kernels on CUDA alone. */
export async function graphFor(path: string, provider: string): Promise<string> {
  const fused = fusedGraph(path);
  return provider === 'cuda' && (await exists(fused)) ? fused : path;
}

/** What ONNX Runtime says to a session that was told to leave nothing to the CPU. */
const LEFT_TO_CPU = /assigned to the default CPU EP/;

interface OpenSession {
  readonly session: ort.InferenceSession;
  /** To be awaited after each run: whether only arithmetic on shapes was left to the CPU. */
  readonly check?: () => Promise<void>;
}

/** The session, with all of its nodes on the provider where that is possible. */
async function openSession(path: string, options: EngineOptions): Promise<OpenSession> {
  const [provider] = options.executionProviders;
  const create = (changes: ort.InferenceSession.SessionOptions) =>
    ort.InferenceSession.create(path, { ...sessionOptions(options), ...changes });
  // Threads that spin while they wait take the cores from whatever else runs here: the API, Redis, another worker.
  if (provider === 'cpu')
    return { session: await create({ extra: { session: { intra_op: { allow_spinning: '0' } } } }) };
  try {
    // Its refusal is no error that would have to be on stderr.
    return {
      session: await create({ logSeverityLevel: 4, extra: { session: { disable_cpu_ep_fallback: '1' } } }),
    };
  } catch (error) {
    if (!LEFT_TO_CPU.test((error as Error).message)) throw error;
  }
  if (options.executionProviders.includes('cpu')) {
    notice(
      `Parts of ${path} run on the CPU, for ${provider} leaves them to it; FINDERY_PROVIDERS names cpu behind it.`,
    );
    return { session: await create({}) };
  }
  const prefix = join(tmpdir(), `findery-placement-${randomUUID()}`);
  const session = await create({ enableProfiling: true, profileFilePrefix: prefix });
  let refusal: EngineError | null | undefined;
  return {
    session,
    async check() {
      if (refusal === undefined) {
        session.endProfiling();
        refusal = judge(await takeProfile(prefix), path, provider);
      }
      if (refusal) throw refusal;
    },
  };
}

/** null: nothing but arithmetic on shapes is left to the CPU. */
function judge(profile: string | null, path: string, provider: string): EngineError | null {
  if (profile === null) {
    notice(`${tmpdir()} can't be written, so it is not known which parts of ${path} run on the CPU.`);
    return null;
  }
  const work = workOnCpu(profile);
  if (work.length === 0) return null;
  return new EngineError(
    `Parts of ${path} have no kernels on ${provider} and would run on the CPU: ${work.slice(0, 5).join(', ')}. Export the model again for this provider, or accept it with FINDERY_PROVIDERS=${provider},cpu.`,
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
    // On the CPU a planned layout of all intermediate results takes a half more memory (Stable Diffusion 1.5 at 512x512: 10.4 GiB
    // instead of 7.3) and no less time.
    enableMemPattern: provider !== 'cpu',
  };
}

function toOrt({ type, data, dims }: Tensor, isHalf: boolean): ort.Tensor {
  if (!isHalf || type !== 'float32') return new ort.Tensor(type, data as never, dims);
  return new ort.Tensor('float16', toFloat16(data as Float32Array), dims);
}

function fromOrt({ type, data }: ort.Tensor): Float32Array {
  if (type === 'float32') return data as Float32Array;
  return type === 'float16' ? fromFloat16(data as Uint16Array) : Float32Array.from(data as Float64Array);
}

function describe(values: readonly ort.InferenceSession.ValueMetadata[]): Value[] {
  return values.map((value) =>
    value.isTensor
      ? { name: value.name, type: value.type, shape: value.shape }
      : { name: value.name, type: 'none', shape: [] },
  );
}

/**
 * The value of that name, else the only one of that rank: exporters agree on most names, not on all.
 * @throws EngineError that lists what the graph has
 */
export function pick(
  graph: Graph,
  side: 'inputs' | 'outputs',
  name: string,
  ranks: readonly number[],
): Value {
  const found =
    graph[side].find((value) => value.name === name) ??
    onlyOne(graph[side].filter(({ shape }) => ranks.includes(shape.length)));
  const has = graph[side].map((value) => `${value.name}: ${value.type} [${value.shape}]`).join('; ');
  if (!found)
    throw new EngineError(
      `${graph.path} has no "${name}" among its ${side} (${has}); export the model again with the usual names.`,
    );
  if (!ranks.includes(found.shape.length)) {
    throw new EngineError(
      `${graph.path}: "${found.name}" has rank ${found.shape.length} ([${found.shape}]), expected ${ranks.join(' or ')}; is this the right graph for its folder?`,
    );
  }
  return found;
}

const FLOATS = ['float32', 'float16'];

/** The same for floating-point values. */
export function pickFloat(
  graph: Graph,
  side: 'inputs' | 'outputs',
  name: string,
  ranks: readonly number[],
): Value {
  const found = pick(graph, side, name, ranks);
  if (!FLOATS.includes(found.type))
    throw new EngineError(
      `${graph.path}: "${found.name}" is ${found.type}; graphs that compute in float32 or float16 can be run. Export it with --dtype fp32 or fp16.`,
    );
  return found;
}

/** @throws EngineError when the graph wants inputs besides `known`, which nobody will give it */
export function refuseOtherInputs(graph: Graph, known: readonly string[]): void {
  const others = graph.inputs.map(({ name }) => name).filter((name) => !known.includes(name));
  if (others.length === 0) return;
  throw new EngineError(
    `${graph.path} wants ${others.join(', ')} besides ${known.join(', ')}; is this the right graph for its folder?`,
  );
}

/**
 * Numbers in the type that the graph wants. Where that is an integer they are cut, as exporters' own pipelines do with
 * schedulers' fractional timesteps.
 */
export function integers(value: Value, dims: readonly number[], numbers: readonly number[]): Tensor {
  const whole = numbers.map(Math.trunc);
  if (value.type === 'int64') return { type: 'int64', dims, data: BigInt64Array.from(whole, BigInt) };
  if (value.type === 'int32') return { type: 'int32', dims, data: Int32Array.from(whole) };
  if (FLOATS.includes(value.type)) return { type: 'float32', dims, data: Float32Array.from(numbers) };
  throw new EngineError(`"${value.name}" is ${value.type}; int64, int32, float32 and float16 are known.`);
}

function onlyOne<T>(values: readonly T[]): T | undefined {
  return values.length === 1 ? values[0] : undefined;
}
