import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { onShell } from '../../src/numerics/optimizers/elite.ts';
import { elites } from '../../src/numerics/optimizers/elites.ts';
import type { Optimizer, OptimizerState, Proposal } from '../../src/numerics/optimizers/optimizer.ts';

/** Large enough that two independent noises are all but orthogonal: their cosine is 0 +- 0.03. */
const SHAPE = [4, 16, 16];
const D = 1024;
const BUDGET = 60;
const SETTINGS = {
  batchSize: 5,
  elites: 3,
  warmUp: 0.2,
  heldOut: 0.2,
  perFounder: 2,
  smallestC: 0.8,
  largestC: 0.98,
};
const create = (settings: Partial<typeof SETTINGS> = {}) =>
  elites.create(
    { shape: SHAPE, seed: 3, budget: BUDGET, promptEmbedding: Float32Array.of(1) },
    { ...SETTINGS, ...settings },
  );

const direction = onShell(standardNormal({ seed: 99, stream: STREAMS.samples, index: 0 }, D));
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const reward = (noise: Float32Array) => dot(noise, direction) / Math.sqrt(D);

interface Summary {
  readonly elites: { readonly index: number; readonly reward: number; readonly founder: number }[];
}

/** Runs to the end; `onAsk` sees every iteration's proposals with the elites as they were when it was asked. */
function run(optimizer: Optimizer, onAsk: (proposals: Proposal[], before: Summary) => void, spent = 0): void {
  for (let count = spent; count < BUDGET; ) {
    const before = optimizer.summary() as unknown as Summary;
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), BUDGET - count));
    onAsk(proposals, before);
    optimizer.tell(proposals.map(({ values: noise }) => reward(noise)));
    count += proposals.length;
  }
}

describe('the search of elites', () => {
  it('proposes noises at a cosine within [smallestC, largestC] to one of the elites, not fresh ones', () => {
    const noises = new Map<number, Float32Array>();
    let children = 0;
    run(create(), (proposals, before) => {
      for (const { key, values: noise } of proposals) {
        if (key.stream !== STREAMS.search) continue;
        if (key.index >= 12) {
          const nearest = Math.max(
            ...before.elites.map(({ index }) => cosine(noises.get(index) as Float32Array, noise)),
          );
          expect(nearest).toBeGreaterThan(0.8 - 0.05);
          expect(nearest).toBeLessThan(0.98 + 0.01);
          children++;
        }
        noises.set(key.index, noise);
      }
    });
    expect(children).toBe(36);
  });

  it('hands the founder down: a child belongs to the lineage of the elite that it came from', () => {
    const noises = new Map<number, Float32Array>();
    const founders = new Map<number, number>();
    run(create(), (proposals, before) => {
      for (const elite of before.elites) {
        expect(elite.founder, `key ${elite.index}`).toBe(founders.get(elite.index));
      }
      for (const { key, values: noise } of proposals) {
        if (key.stream !== STREAMS.search) continue;
        const closeness = ({ index }: { index: number }) => cosine(noises.get(index) as Float32Array, noise);
        const [parent] = before.elites.toSorted((a, b) => closeness(b) - closeness(a));
        founders.set(key.index, key.index < 12 ? key.index : (founders.get(parent.index) as number));
        noises.set(key.index, noise);
      }
    });
    expect([...founders.values()].every((founder) => founder < 12)).toBe(true);
  });
});

describe('the held-out draws of elites', () => {
  it('never become centres, however high they score', () => {
    const optimizer = create();
    let searched: Summary | undefined;
    for (let count = 0; count < BUDGET; ) {
      const proposals = optimizer.ask(Math.min(optimizer.batchSize(), BUDGET - count));
      const isHeldOut = proposals[0].key.stream === STREAMS.heldOut;
      if (isHeldOut) searched ??= optimizer.summary() as unknown as Summary;
      optimizer.tell(proposals.map(({ values: noise }) => reward(noise) + (isHeldOut ? 1000 : 0)));
      count += proposals.length;
    }
    expect(searched?.elites).toHaveLength(3);
    expect((optimizer.summary() as unknown as Summary).elites).toEqual(searched?.elites);
  });

  it.each([50, 53, 58, 60])('are part of a snapshot: one after %i images ends at the same bits', (cut) => {
    const undisturbed = create();
    let snapshot: OptimizerState | undefined;
    let at = 0;
    let count = 0;
    run(undisturbed, (proposals) => {
      if (count <= cut) [snapshot, at] = [structuredClone(undisturbed.state()), count];
      count += proposals.length;
    });
    if (cut === BUDGET) [snapshot, at] = [structuredClone(undisturbed.state()), BUDGET];
    const resumed = create();
    resumed.restore(snapshot as OptimizerState);
    run(resumed, () => {}, at);
    expect(resumed.summary()).toEqual(undisturbed.summary());
    expect(resumed.policy()).toEqual(undisturbed.policy());
  });
});
