import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { standardNormalDistribution } from '../../src/numerics/distributions/gaussian.ts';
import { checkDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import { elites } from '../../src/numerics/optimizers/elites.ts';
import type { Optimizer, OptimizerState, Proposal } from '../../src/numerics/optimizers/optimizer.ts';
import { cosine, createOptimizer, judge, linearReward, runSearch } from '../support/optimizers.ts';

type Summary = {
  readonly c: number;
  readonly elites: readonly { readonly index: number; readonly reward: number; readonly founder: number }[];
  readonly heldOut: readonly { readonly c: number; readonly draws: number; readonly mean: number }[];
};
const summaryOf = (optimizer: Optimizer) => optimizer.summary() as Summary;

/** Large enough that two independent noises are almost orthogonal: their cosine is 0 +- 0.03. */
const LARGE = { shape: [4, 16, 16], budget: 60 };
const LARGE_PARAMETERS = { batchSize: 5, elites: 3 };
const createLarge = () => createOptimizer(elites, LARGE, LARGE_PARAMETERS);
const largeReward = linearReward(1024);

/**
 * Runs a large search; `onAsk` gets every iteration's proposals with the summary from before its
 * `ask`.
 */
function runLarge(
  optimizer: Optimizer,
  onAsk: (proposals: readonly Proposal[], before: Summary) => void,
): void {
  let before = summaryOf(optimizer);
  runSearch(optimizer, LARGE.budget, largeReward, ({ proposals }) => {
    onAsk(proposals, before);
    before = summaryOf(optimizer);
  });
}

describe('the search', () => {
  it('proposes noises at a cosine within [smallestC, largestC] to one of the elites', () => {
    const noises = new Map<number, Float32Array>();
    let children = 0;
    runLarge(createLarge(), (proposals, before) => {
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

  it('gives a child the founder of the elite that it descends from', () => {
    const noises = new Map<number, Float32Array>();
    const founders = new Map<number, number>();
    runLarge(createLarge(), (proposals, before) => {
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

describe('the held-out noises', () => {
  it('never become elites, however high they score', () => {
    const optimizer = createLarge();
    let searched: Summary | undefined;
    for (let count = 0; count < LARGE.budget; ) {
      const proposals = optimizer.ask(Math.min(optimizer.batchSize(), LARGE.budget - count));
      const isHeldOut = proposals[0].key.stream === STREAMS.heldOut;
      if (isHeldOut) searched ??= summaryOf(optimizer);
      optimizer.tell(proposals.map(({ values }) => largeReward(values) + (isHeldOut ? 1000 : 0)));
      count += proposals.length;
    }
    expect(searched?.elites).toHaveLength(3);
    expect(summaryOf(optimizer).elites).toEqual(searched?.elites);
  });

  it.each([50, 53, 58, 60])('are part of a snapshot after %i images', (cut) => {
    const undisturbed = createLarge();
    let [snapshot, spentAtCut]: [OptimizerState, number] = [undisturbed.state(), 0];
    runSearch(undisturbed, LARGE.budget, largeReward, ({ spent }) => {
      if (spent <= cut) [snapshot, spentAtCut] = [structuredClone(undisturbed.state()), spent];
    });
    const resumed = createLarge();
    resumed.restore(snapshot);
    runSearch(resumed, LARGE.budget, largeReward, undefined, spentAtCut);
    expect(resumed.summary()).toEqual(undisturbed.summary());
    expect(resumed.policy()).toEqual(undisturbed.policy());
  });

  it('select the width, and all widths share their noise keys', () => {
    const optimizer = createOptimizer(elites, { budget: 150 }, { heldOut: 0.2 });
    const heldOut: number[] = [];
    runSearch(optimizer, 150, linear, ({ proposals }) => {
      for (const { key } of proposals) if (key.stream === STREAMS.heldOut) heldOut.push(key.index);
    });
    const { c, heldOut: widths } = summaryOf(optimizer);
    expect(heldOut).toHaveLength(30);
    expect(new Set(heldOut).size).toBe(15);
    expect(widths.map(({ draws }) => draws)).toEqual([15, 15]);
    expect(widths.map((width) => width.c)).toContain(c);
    // On a linear reward every step towards an elite pays, so the narrowest distribution wins.
    expect(c).toBe(0.98);
  });

  it('keep the distribution wide if narrowing does not raise their rewards', () => {
    const optimizer = createOptimizer(elites, { budget: 150 });
    // Similar noises have independent rewards.
    runSearch(optimizer, 150, (noise) => Math.sin(1e4 * noise[0]));
    expect(summaryOf(optimizer).c).toBeLessThan(0.98);
  });
});

const SHAPE = [2, 4, 4];
const D = 32;
const linear = linearReward(D);

describe('the distribution', () => {
  it.each([
    [0.1, 0.3],
    [0.5, 0.5],
    [0.8, 0.99],
  ])('has a c from smallestC = %d to largestC = %d', (smallestC, largestC) => {
    const optimizer = createOptimizer(elites, { budget: 50 }, { smallestC, largestC });
    runSearch(optimizer, 50, linear, () => checkDistribution(optimizer.policy()));
    const { c } = summaryOf(optimizer);
    expect(c).toBeGreaterThanOrEqual(smallestC);
    expect(c).toBeLessThanOrEqual(largestC);
  });

  it('scores higher on new samples than N(0, I)', () => {
    const optimizer = createOptimizer(elites, { shape: SHAPE, budget: 150 });
    runSearch(optimizer, 150, linear);
    expect(
      judge(optimizer.policy(), linear) - judge(standardNormalDistribution(SHAPE), linear),
    ).toBeGreaterThan(0.7);
  });

  it('preserves the variance: every component has mean^2 + std^2 = 1', () => {
    const optimizer = createOptimizer(elites, { budget: 150 });
    runSearch(optimizer, 150, linear);
    const { mean: means, std, weights } = optimizer.policy();
    for (let k = 0; k < weights.length; k++) {
      const energy =
        means.subarray(k * D, (k + 1) * D).reduce((sum, value) => sum + value * value, 0) / D + std[k] ** 2;
      expect(energy).toBeCloseTo(1, 5);
    }
  });

  it('has at most `perFounder` components of one lineage', () => {
    const optimizer = createOptimizer(elites, { budget: 150 }, { perFounder: 1, elites: 4 });
    runSearch(optimizer, 150, linear);
    const found = summaryOf(optimizer).elites;
    expect(found).toHaveLength(4);
    expect(new Set(found.map(({ founder }) => founder)).size).toBe(4);
  });
});

it('rejects a smallestC above largestC', () => {
  expect(() => createOptimizer(elites, { budget: 10 }, { smallestC: 0.9, largestC: 0.8 })).toThrow(
    /smallestC is 0.9 and largestC 0.8/,
  );
});
