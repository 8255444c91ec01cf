import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ParameterValues } from '../../src/numerics/optimizers/optimizer.ts';
import { findOptimizer } from '../../src/numerics/optimizers/registry.ts';
import { createOptimizer, runSearch } from '../support/optimizers.ts';

/** Checkpoints of half-finished searches of findery 0.1.0, and what these searches ended with. */
interface Fixture {
  readonly shape: readonly number[];
  readonly seed: number;
  readonly budget: number;
  readonly promptEmbedding: readonly number[];
  readonly searches: readonly {
    readonly name: string;
    readonly parameters: ParameterValues;
    /** Number of rewards before the checkpoint. */
    readonly spent: number;
    readonly state: {
      readonly values: { readonly [key: string]: unknown };
      /** Float32, little-endian, base64. */
      readonly tensors: { readonly [key: string]: string };
    };
    /** Of the mean, the standard deviation and the weights at the end. */
    readonly policySha256: string;
    readonly summary: unknown;
  }[];
}

const fixture: Fixture = JSON.parse(
  readFileSync(new URL('../fixtures/optimizer-states.json', import.meta.url), 'utf8'),
);
const { shape, seed, budget } = fixture;
const promptEmbedding = Float32Array.from(fixture.promptEmbedding);

function unpack(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64');
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}

describe('a checkpoint of findery 0.1.0', () => {
  it.each(fixture.searches)('of $name continues to the same bits', (search) => {
    const optimizer = createOptimizer(
      findOptimizer(search.name),
      { shape, seed, budget, promptEmbedding },
      search.parameters,
    );
    const tensors = Object.fromEntries(
      Object.entries(search.state.tensors).map(([name, base64]) => [name, unpack(base64)]),
    );
    optimizer.restore({ values: search.state.values, tensors });
    // The rewards of the fixture.
    const reward = (_: Float32Array, index: number) => ((index * 7919) % 101) / 10 - 5;
    runSearch(optimizer, budget, reward, undefined, search.spent);
    const { mean, std, weights } = optimizer.policy();
    const hash = createHash('sha256');
    for (const values of [mean, std, weights])
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    expect(hash.digest('hex')).toBe(search.policySha256);
    expect(JSON.parse(JSON.stringify(optimizer.summary()))).toEqual(search.summary);
  });

  it('names the tensors of find’s calibration network as this version does', () => {
    const optimizer = createOptimizer(findOptimizer('find'), { budget: 2 });
    runSearch(optimizer, 2, () => 1);
    expect(Object.keys(optimizer.state().tensors).filter((name) => name.startsWith('phi.'))).toEqual(
      [0, 1, 2, 3].flatMap((layer) =>
        ['parameters', 'first', 'second'].map((part) => `phi.${layer}.${part}`),
      ),
    );
  });
});
