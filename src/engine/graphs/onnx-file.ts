import type { GraphValue } from './graph.ts';

/**
 * Reads the inputs and outputs of an ONNX file, and fixes sizes that it leaves free, without ONNX
 * Runtime. An ONNX file is a ModelProto of protocol buffers; numbers of fields are those of
 * onnx.proto. What is not looked at is copied unread.
 */

/** The inputs and outputs that a graph declares. */
export interface GraphHeader {
  /** Without weights, which old files list as inputs, too. */
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
}

/** A field of a message: its bytes from `start` to `end`; those of its value from `value` on. */
interface Field {
  readonly number: number;
  readonly start: number;
  readonly value: number;
  readonly end: number;
}

const MODEL = { graph: 7 };
const GRAPH = { initializer: 5, input: 11, output: 12 };
const INITIALIZER = { name: 8 };
const VALUE_INFO = { name: 1, type: 2 };
const TYPE = { tensor: 1 };
const TENSOR = { elementType: 1, shape: 2 };
const SHAPE = { dimension: 1 };
const DIMENSION = { size: 1, name: 2 };

/** Names of TensorProto.DataType as ONNX Runtime's metadata has them. */
const ELEMENT_TYPES: Readonly<Record<number, string>> = {
  1: 'float32',
  6: 'int32',
  7: 'int64',
  9: 'bool',
  10: 'float16',
  11: 'float64',
};

/**
 * Reads the inputs and outputs of a graph.
 * @param model content of an ONNX file
 * @throws RangeError if it is no ONNX file
 */
export function readHeader(model: Uint8Array): GraphHeader {
  const graph = find(model, whole(model), MODEL.graph);
  if (!graph) throw new RangeError('It has no graph.');
  const inputs: GraphValue[] = [];
  const outputs: GraphValue[] = [];
  const weights = new Set<string>();
  for (const field of fields(model, graph)) {
    if (field.number === GRAPH.input) inputs.push(readValue(model, field));
    else if (field.number === GRAPH.output) outputs.push(readValue(model, field));
    else if (field.number === GRAPH.initializer) weights.add(readText(model, field, INITIALIZER.name));
  }
  return { inputs: inputs.filter(({ name }) => !weights.has(name)), outputs };
}

/**
 * Fixes free sizes of the inputs of a graph. ONNX Runtime then computes shapes when it opens the
 * graph instead of in each run. It does the same for the session option `freeDimensionOverrides`,
 * which onnxruntime-node does not have.
 * @param model content of an ONNX file
 * @param sizes by the names of the free sizes; other names stay free
 * @returns the content of another ONNX file
 */
export function fixSizes(model: Uint8Array, sizes: Readonly<Record<string, number>>): Uint8Array {
  const fixDimension = (field: Field): Uint8Array => {
    const name = readText(model, field, DIMENSION.name);
    if (!Object.hasOwn(sizes, name)) return model.subarray(field.start, field.end);
    return message(SHAPE.dimension, [Uint8Array.of(DIMENSION.size << 3, ...varint(sizes[name]))]);
  };
  /** Replaces the fields on the way from `field` along `path` to the dimensions. */
  const replace = (field: Field, [next, ...path]: readonly number[]): Uint8Array => {
    if (next === undefined) return fixDimension(field);
    const parts = [...fields(model, field)].map((part) =>
      part.number === next ? replace(part, path) : model.subarray(part.start, part.end),
    );
    return field.number === 0 ? Buffer.concat(parts) : message(field.number, parts);
  };
  return replace(whole(model), [
    MODEL.graph,
    GRAPH.input,
    VALUE_INFO.type,
    TYPE.tensor,
    TENSOR.shape,
    SHAPE.dimension,
  ]);
}

function readValue(model: Uint8Array, field: Field): GraphValue {
  const name = readText(model, field, VALUE_INFO.name);
  const type = find(model, field, VALUE_INFO.type);
  const tensor = type && find(model, type, TYPE.tensor);
  if (!tensor) return { name, type: 'none', shape: [] };
  const element = find(model, tensor, TENSOR.elementType);
  const shape = find(model, tensor, TENSOR.shape);
  return {
    name,
    type: ELEMENT_TYPES[element ? readVarint(model, element.value)[0] : 0] ?? 'none',
    shape: [...(shape ? fields(model, shape) : [])].map((dimension) => {
      const size = find(model, dimension, DIMENSION.size);
      return size ? readVarint(model, size.value)[0] : readText(model, dimension, DIMENSION.name);
    }),
  };
}

/** A whole file as if it were a field. */
function whole(model: Uint8Array): Field {
  return { number: 0, start: 0, value: 0, end: model.length };
}

function find(model: Uint8Array, parent: Field, number: number): Field | undefined {
  for (const field of fields(model, parent)) if (field.number === number) return field;
  return undefined;
}

function readText(model: Uint8Array, parent: Field, number: number): string {
  const field = find(model, parent, number);
  return field ? Buffer.from(model.subarray(field.value, field.end)).toString('utf8') : '';
}

/** The fields of a message. @throws RangeError if its bytes are none */
function* fields(model: Uint8Array, { value, end: last }: Field): Generator<Field> {
  for (let start = value; start < last; ) {
    const [tag, afterTag] = readVarint(model, start);
    const [first, end] = readExtent(model, tag % 8, afterTag);
    if (end > last) throw new RangeError(`A field at byte ${start} is longer than its message.`);
    yield { number: Math.floor(tag / 8), start, value: first, end };
    start = end;
  }
}

/** Where the value of a field begins and ends. */
function readExtent(model: Uint8Array, wireType: number, at: number): readonly [number, number] {
  switch (wireType) {
    case 0:
      return [at, readVarint(model, at)[1]];
    case 1:
      return [at, at + 8];
    case 2: {
      const [length, first] = readVarint(model, at);
      return [first, first + length];
    }
    case 5:
      return [at, at + 4];
    default:
      throw new RangeError(`There is no field at byte ${at}.`);
  }
}

/** A number of seven bits a byte, lowest first, and where it ends. */
function readVarint(model: Uint8Array, start: number): readonly [number, number] {
  let value = 0;
  for (let at = start; at < start + 10 && at < model.length; at++) {
    value += (model[at] & 0x7f) * 2 ** (7 * (at - start));
    if (model[at] < 0x80) return [value, at + 1];
  }
  throw new RangeError(`There is no number at byte ${start}.`);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))];
}

/** A field that holds a message. */
function message(number: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Uint8Array.from([...varint(number * 8 + 2), ...varint(length)]), ...parts]);
}
