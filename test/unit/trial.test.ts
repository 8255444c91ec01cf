import { describe, expect, it } from 'vitest';
import type { Elite } from '../../src/numerics/optimizers/elite.ts';
import { Trial } from '../../src/numerics/optimizers/trial.ts';

const candidate = (index: number, founder: number, reward: number): Elite => ({
  index,
  founder,
  reward,
  noise: Float32Array.of(index),
});
const NONE = new Map<number, number>();

describe('a trial of candidates', () => {
  it('believes rewards until they are tried, and has one winner of each founder', () => {
    const trial = new Trial([candidate(0, 0, 3), candidate(1, 0, 2), candidate(2, 5, 1)]);
    expect(trial.best(2).map(({ index }) => index)).toEqual([0, 2]);
    expect(trial.best(1).map(({ index }) => index)).toEqual([0]);
  });

  it('drops the best of a founder when its neighbours disappoint', () => {
    const trial = new Trial([candidate(0, 0, 3), candidate(1, 0, 2), candidate(2, 5, 1)]);
    trial.add(0, -2);
    expect(trial.best(2).map(({ index }) => index)).toEqual([1, 2]);
    trial.add(1, 2);
    trial.add(1, 2);
    expect(trial.next(1, NONE).index).toBe(1);
  });

  it('tries the best founders in turn, also within one batch', () => {
    const trial = new Trial([candidate(0, 0, 3), candidate(2, 5, 1), candidate(3, 7, -9)]);
    expect(trial.next(2, NONE).index).toBe(0);
    expect(trial.next(2, new Map([[0, 1]])).index).toBe(2);
    trial.add(0, 3);
    expect(trial.next(2, NONE).index).toBe(2);
  });

  it('finds the noise with good neighbours among better ones beside a cliff', () => {
    const truth = [0.2, 0.3, 1.1, 0.4];
    const trial = new Trial(truth.map((_, index) => candidate(index, 0, 1.5 - 0.1 * index)));
    for (let draw = 0; draw < 12; draw++) {
      const { index } = trial.next(1, NONE);
      trial.add(index, truth[index]);
    }
    expect(trial.best(1)[0].index).toBe(2);
  });

  it('goes on from its results, and refuses those of another number of candidates', () => {
    const candidates = [candidate(0, 0, 3), candidate(1, 0, 2)];
    const trial = new Trial(candidates);
    trial.add(0, 0);
    const again = Trial.restore(candidates, JSON.parse(JSON.stringify(trial.results())));
    expect(again.best(1)).toEqual(trial.best(1));
    expect(() => Trial.restore(candidates.slice(1), trial.results())).toThrow('results of 2 candidates; there are 1');
  });
});
