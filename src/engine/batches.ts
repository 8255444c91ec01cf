import type { Graph, Tensor } from './graphs/graph.ts';

export interface Feeds {
  readonly [input: string]: Tensor;
}

/**
 * Runs a graph on `count` rows, in as many runs as its own batch size asks for: a graph that was exported with a fixed
 * first axis gets so many rows each time (the last run filled up with copies), any other gets all of them at once.
 *
 * @param rows inputs whose first axis is `count`
 * @param shared inputs that are the same for every row
 * @param wanted outputs whose first axis is the rows'
 * @param betweenRuns awaited before each run; it throws when the work is to stop
 */
export async function runInBatches(
  graph: Graph,
  count: number,
  rows: Feeds,
  shared: Feeds,
  wanted: readonly string[],
  betweenRuns: () => Promise<void> = async () => {},
): Promise<{ [output: string]: Float32Array }> {
  const size = fixedBatch(graph, rows) ?? count;
  if (size === count) {
    await betweenRuns();
    return graph.run({ ...shared, ...rows }, wanted);
  }
  const parts: { [output: string]: Float32Array }[] = [];
  for (let first = 0; first < count; first += size) {
    const chosen = Array.from({ length: size }, (_, i) => Math.min(first + i, count - 1));
    const feeds = Object.fromEntries(
      Object.entries(rows).map(([name, tensor]) => [name, take(tensor, chosen)]),
    );
    await betweenRuns();
    parts.push(await graph.run({ ...shared, ...feeds }, wanted));
  }
  return Object.fromEntries(
    wanted.map((name) => {
      const row = parts[0][name].length / size;
      const whole = new Float32Array(row * count);
      for (const [i, part] of parts.entries()) {
        const left = count - i * size;
        whole.set(part[name].subarray(0, Math.min(left, size) * row), i * size * row);
      }
      return [name, whole];
    }),
  );
}

/** The graph's own number of rows, where it was exported with one. */
function fixedBatch(graph: Graph, rows: Feeds): number | undefined {
  const sizes = graph.inputs.filter(({ name }) => name in rows).map(({ shape }) => shape[0]);
  return sizes.find((size): size is number => typeof size === 'number' && size > 0);
}

/** The rows of those numbers, in that order. */
function take({ type, dims, data }: Tensor, chosen: readonly number[]): Tensor {
  const row = data.length / dims[0];
  const taken = new (data.constructor as Float32ArrayConstructor)(row * chosen.length);
  for (const [i, from] of chosen.entries())
    taken.set((data as Float32Array).subarray(from * row, (from + 1) * row), i * row);
  return { type, dims: [chosen.length, ...dims.slice(1)], data: taken };
}
