import type { Feeds, Floats, Graph, Outputs, Tensor } from './graph.ts';

/**
 * Runs a graph on `count` rows. A graph that was exported with a fixed batch size runs as often as
 * that takes, and the last run is filled up with copies; any other graph runs once.
 * @param rows inputs whose first axis is `count`
 * @param shared inputs that are the same for every row
 * @param wanted names of outputs whose first axis is the batch
 * @param betweenRuns awaited before each run; stops the work by throwing
 * @returns the wanted outputs for all rows
 */
export async function runInBatches(
  graph: Graph,
  count: number,
  rows: Feeds,
  shared: Feeds,
  wanted: readonly string[],
  betweenRuns: () => Promise<void> = async () => {},
): Promise<Outputs> {
  const size = fixedBatchSize(graph, rows) ?? count;
  if (size === count) {
    await betweenRuns();
    return graph.run({ ...shared, ...rows }, wanted);
  }
  const parts: Outputs[] = [];
  for (let first = 0; first < count; first += size) {
    const indices = Array.from({ length: size }, (_, i) => Math.min(first + i, count - 1));
    const feeds = Object.fromEntries(
      Object.entries(rows).map(([name, tensor]) => [name, takeRows(tensor, indices)]),
    );
    await betweenRuns();
    parts.push(await graph.run({ ...shared, ...feeds }, wanted));
  }
  return Object.fromEntries(
    wanted.map((name) => {
      const length = parts[0][name].length / size;
      const isHalf = parts[0][name] instanceof Uint16Array;
      const whole: Floats = isHalf ? new Uint16Array(length * count) : new Float32Array(length * count);
      for (const [i, part] of parts.entries()) {
        const remaining = count - i * size;
        whole.set(part[name].subarray(0, Math.min(remaining, size) * length), i * size * length);
      }
      return [name, whole];
    }),
  );
}

/** The batch size that the graph was exported with, if it is fixed. */
function fixedBatchSize(graph: Graph, rows: Feeds): number | undefined {
  const sizes = graph.inputs.filter(({ name }) => name in rows).map(({ shape }) => shape[0]);
  return sizes.find((size): size is number => typeof size === 'number' && size > 0);
}

/** The rows at `indices`, in that order. */
function takeRows(tensor: Tensor, indices: readonly number[]): Tensor {
  const { type, data } = tensor;
  const dims = [indices.length, ...tensor.dims.slice(1)];
  const length = (data.length / tensor.dims[0]) * indices.length;
  switch (type) {
    case 'float32':
      return { type, dims, data: copyRows(data, new Float32Array(length), indices) };
    case 'float16':
      return { type, dims, data: copyRows(data, new Uint16Array(length), indices) };
    case 'int64':
      return { type, dims, data: copyRows(data, new BigInt64Array(length), indices) };
    case 'int32':
      return { type, dims, data: copyRows(data, new Int32Array(length), indices) };
  }
}

interface Rows<T> {
  readonly length: number;
  subarray(begin: number, end: number): T;
  set(values: T, offset: number): void;
}

function copyRows<T extends Rows<T>>(from: T, to: T, indices: readonly number[]): T {
  const length = to.length / indices.length;
  for (const [i, index] of indices.entries())
    to.set(from.subarray(index * length, (index + 1) * length), i * length);
  return to;
}
