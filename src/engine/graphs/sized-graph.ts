import { OutOfMemoryError } from '../errors.ts';
import type { Feeds, Graph, GraphValue } from './graph.ts';
import { GraphCache } from './graph-cache.ts';
import type { GraphHeader } from './onnx-file.ts';

/**
 * Sessions of one graph that stay open, each for other sizes: the batch sizes 1, 2, 4 and 8 of one
 * picture size. Each has its own copy of the weights.
 */
const MAX_SESSIONS = 4;

/** Sizes by their names in the graph, such as `batch`, `height`, `width` and `tokens`. */
export type Sizes = Readonly<Record<string, number>>;

/**
 * The names of the free sizes. All have to be fixed: while one is free, such as the batch size,
 * ONNX Runtime computes the whole shape in each run.
 */
export function namesOfSizes(inputs: readonly GraphValue[]): readonly string[] {
  const names = inputs.flatMap(({ shape }) => shape);
  return [...new Set(names)].filter((name): name is string => typeof name === 'string' && name !== '');
}

/**
 * A graph with a session for each combination of sizes that it is run with. The session is opened
 * before the first such run. The least recently used one is closed when there are too many, or when
 * memory runs out.
 * @param header inputs and outputs as the file declares them
 * @param open opens the graph with these sizes fixed
 */
export function openSizedGraph(
  path: string,
  { inputs, outputs }: GraphHeader,
  open: (sizes: Sizes) => Promise<Graph>,
): Graph {
  const sessions = new GraphCache<Graph>(MAX_SESSIONS);
  const names = namesOfSizes(inputs);
  return {
    path,
    inputs,
    outputs,
    async run(feeds, wanted) {
      const sizes = sizesOf(inputs, names, feeds);
      const key = { name: JSON.stringify(sizes), path: null, signature: '' };
      const run = async () => (await sessions.get(key, () => open(sizes))).run(feeds, wanted);
      return run().catch(async (error: unknown) => {
        if (!(error instanceof OutOfMemoryError) || !(await sessions.releaseOthers([key]))) throw error;
        return run();
      });
    },
    release: () => sessions.release(),
  };
}

/** The sizes of `feeds` by name, in the order of `names`. */
function sizesOf(inputs: readonly GraphValue[], names: readonly string[], feeds: Feeds): Sizes {
  const found = new Map<string, number>();
  for (const { name, shape } of inputs)
    for (const [axis, size] of shape.entries())
      if (typeof size === 'string' && feeds[name]) found.set(size, feeds[name].dims[axis]);
  return Object.fromEntries(names.map((name) => [name, found.get(name) ?? 0]));
}
