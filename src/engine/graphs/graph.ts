import { EngineError } from '../errors.ts';
import { toFloat16 } from './float16.ts';

/** An input or output of a graph, as the graph declares it. */
export interface GraphValue {
  readonly name: string;
  /** ONNX type: float32, float16, int64, int32 ... */
  readonly type: string;
  /** A fixed size is a number, a free one a name. */
  readonly shape: readonly (number | string)[];
}

/**
 * Numbers with a shape. A graph converts float32 for its inputs that declare float16. What several
 * runs read can be converted once: `float16` holds the bits, for such inputs only.
 */
export type Tensor =
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array }
  | { readonly type: 'float16'; readonly dims: readonly number[]; readonly data: Uint16Array }
  | { readonly type: 'int64'; readonly dims: readonly number[]; readonly data: BigInt64Array }
  | { readonly type: 'int32'; readonly dims: readonly number[]; readonly data: Int32Array };

/** Tensors by the names of a graph's inputs. */
export interface Feeds {
  readonly [input: string]: Tensor;
}

/** Floats of an output: an output of type float16 is its bits, see `asFloat32`. */
export type Floats = Float32Array | Uint16Array;

/** Values of outputs by name. */
export interface Outputs {
  [output: string]: Floats;
}

/** A graph that can be run; `openGraph` implements it. A run blocks its thread. */
export interface Graph {
  readonly path: string;
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /**
   * Runs the graph once.
   * @returns the outputs named in `wanted`
   * @throws EngineError if the run fails; OutOfMemoryError if memory ran out
   */
  run(feeds: Feeds, wanted: readonly string[]): Promise<Outputs>;
  /** Frees the memory of the graph. */
  release(): Promise<void>;
}

/**
 * The value called `name`, else the only value with one of the `ranks`: exporters agree on most
 * names, but not on all.
 * @throws EngineError that lists the values of the graph
 */
export function findValue(
  graph: Graph,
  side: 'inputs' | 'outputs',
  name: string,
  ranks: readonly number[],
): GraphValue {
  const candidates = graph[side].filter(({ shape }) => ranks.includes(shape.length));
  const found =
    graph[side].find((value) => value.name === name) ?? (candidates.length === 1 ? candidates[0] : undefined);
  if (!found) {
    const present = graph[side].map((value) => `${value.name}: ${value.type} [${value.shape}]`).join('; ');
    throw new EngineError(
      `${graph.path} has no "${name}" among its ${side} (${present}). ` +
        'Export the model again with the usual names.',
    );
  }
  if (!ranks.includes(found.shape.length)) {
    throw new EngineError(
      `${graph.path}: "${found.name}" has rank ${found.shape.length} ([${found.shape}]), expected ` +
        `${ranks.join(' or ')}; is this the right graph for its folder?`,
    );
  }
  return found;
}

const FLOAT_TYPES = ['float32', 'float16'];

/**
 * As `findValue`, for a value of floating-point numbers.
 * @throws EngineError if there is no such value, or it is of another type
 */
export function findFloatValue(
  graph: Graph,
  side: 'inputs' | 'outputs',
  name: string,
  ranks: readonly number[],
): GraphValue {
  const found = findValue(graph, side, name, ranks);
  if (!FLOAT_TYPES.includes(found.type))
    throw new EngineError(
      `${graph.path}: "${found.name}" is ${found.type}; only graphs in float32 and float16 can be run. ` +
        'Export it with --dtype fp32 or fp16.',
    );
  return found;
}

/**
 * Checks that a graph has no inputs besides `known`: nothing would be fed to them.
 * @throws EngineError that names them
 */
export function rejectOtherInputs(graph: Graph, known: readonly string[]): void {
  const others = graph.inputs.map(({ name }) => name).filter((name) => !known.includes(name));
  if (others.length === 0) return;
  throw new EngineError(
    `${graph.path} wants ${others.join(', ')} besides ${known.join(', ')}; ` +
      'is this the right graph for its folder?',
  );
}

/** The names of a graph's outputs, for messages. */
export function outputNames(graph: Graph): string {
  return graph.outputs.map(({ name }) => name).join(', ');
}

/**
 * Numbers as a tensor of the type that `value` declares. For integer types the numbers are
 * truncated, as exporters' own pipelines do with fractional timesteps.
 * @throws EngineError if the type is not supported
 */
export function tensorFor(value: GraphValue, dims: readonly number[], numbers: readonly number[]): Tensor {
  const integers = numbers.map(Math.trunc);
  if (value.type === 'int64') return { type: 'int64', dims, data: BigInt64Array.from(integers, BigInt) };
  if (value.type === 'int32') return { type: 'int32', dims, data: Int32Array.from(integers) };
  if (FLOAT_TYPES.includes(value.type)) return { type: 'float32', dims, data: Float32Array.from(numbers) };
  throw new EngineError(`"${value.name}" is ${value.type}; int64, int32, float32 and float16 are supported.`);
}

/**
 * The numbers of an input that several runs read, stacked along a batch axis: converted once to the
 * type that `value` declares.
 * @param rows the values of a row, and how often it follows itself; all of equal length
 */
export function repeatedTensor(
  value: GraphValue,
  dims: readonly number[],
  rows: readonly { readonly values: Float32Array; readonly repeats: number }[],
): Tensor {
  const length = rows.reduce((sum, { values, repeats }) => sum + values.length * repeats, 0);
  if (value.type !== 'float16') {
    const data = new Float32Array(length);
    let end = 0;
    for (const { values, repeats } of rows) end = repeatInto(data, end, values, repeats);
    return { type: 'float32', dims, data };
  }
  const data = new Uint16Array(length);
  let end = 0;
  for (const { values, repeats } of rows) end = repeatInto(data, end, toFloat16(values), repeats);
  return { type: 'float16', dims, data };
}

/** @returns where the last copy ends */
function repeatInto<T extends Float32Array | Uint16Array>(
  into: T,
  start: number,
  row: T,
  repeats: number,
): number {
  for (let i = 0; i < repeats; i++) into.set(row, start + i * row.length);
  return start + repeats * row.length;
}
