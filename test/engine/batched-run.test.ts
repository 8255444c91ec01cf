import { describe, expect, it } from 'vitest';
import { runInBatches } from '../../src/engine/graphs/batched-run.ts';
import { fromFloat16, toFloat16 } from '../../src/engine/graphs/float16.ts';
import type { Feeds, Graph } from '../../src/engine/graphs/graph.ts';

/**
 * A graph in float16 whose batch size is `batch`: y = 2 x + offset + t for rows of two numbers, in
 * which x and t are given by row and offset for all.
 */
function halfGraph(batch: number | string) {
  const runs: Feeds[] = [];
  const graph: Graph = {
    path: 'half',
    inputs: [
      { name: 'x', type: 'float16', shape: [batch, 2] },
      { name: 't', type: 'int64', shape: [batch] },
      { name: 'offset', type: 'float16', shape: [1] },
    ],
    outputs: [{ name: 'y', type: 'float16', shape: [batch, 2] }],
    async run(feeds) {
      runs.push(feeds);
      const { x, t, offset } = feeds;
      expect([x.type, t.type, offset.type]).toEqual(['float16', 'int64', 'float16']);
      const [shift] = fromFloat16(offset.data as Uint16Array);
      const values = fromFloat16(x.data as Uint16Array);
      return { y: toFloat16(values.map((value, i) => 2 * value + shift + Number(t.data[i >> 1]))) };
    },
    release: async () => {},
  };
  return { graph, runs };
}

/** Rows [10 i, 10 i + 1] at the timestep 100 i. */
function rowsOf(count: number): Feeds {
  const values = Float32Array.from({ length: 2 * count }, (_, i) => 10 * (i >> 1) + (i % 2));
  const timesteps = BigInt64Array.from({ length: count }, (_, i) => BigInt(100 * i));
  return {
    x: { type: 'float16', dims: [count, 2], data: toFloat16(values) },
    t: { type: 'int64', dims: [count], data: timesteps },
  };
}

const shared: Feeds = { offset: { type: 'float16', dims: [1], data: toFloat16(Float32Array.of(0.5)) } };

describe('rows of float16 through a graph', () => {
  it.each([
    ['a fixed batch size of 1, one by one', 1, [1, 1, 1, 1, 1]],
    ['a fixed batch size of 2, the last run filled up', 2, [2, 2, 2]],
    ['a fixed batch size of 8, filled up', 8, [8]],
    ['a free batch size, at once', 'batch', [5]],
  ])('with %s, keep their order and stay bits', async (_, batch, sizes) => {
    const { graph, runs } = halfGraph(batch);
    let pauses = 0;
    const { y } = await runInBatches(graph, 5, rowsOf(5), shared, ['y'], async () => {
      pauses++;
    });
    expect(y).toBeInstanceOf(Uint16Array);
    const expected = Array.from(
      { length: 10 },
      (_, i) => 2 * (10 * (i >> 1) + (i % 2)) + 0.5 + 100 * (i >> 1),
    );
    expect([...fromFloat16(y as Uint16Array)]).toEqual(expected);
    expect(runs.map(({ x }) => x.dims)).toEqual(sizes.map((size) => [size, 2]));
    expect(runs.map(({ t }) => t.data.length)).toEqual(sizes);
    expect(pauses).toBe(sizes.length);
  });
});
