import { describe, expect, it } from 'vitest';
import { Batcher } from '../../src/redis/batcher.ts';

const endTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('a batcher', () => {
  it('sends the items of one event-loop turn in one call and gives each its own answer', async () => {
    const calls: number[][] = [];
    const doubling = new Batcher(10, async (items: readonly number[]) => {
      calls.push([...items]);
      return items.map((value) => 2 * value);
    });
    expect(await Promise.all([1, 2, 3].map((value) => doubling.add(value)))).toEqual([2, 4, 6]);
    expect(await doubling.add(4)).toBe(8);
    expect(calls).toEqual([[1, 2, 3], [4]]);
  });

  it('never sends more than `maxBatch` items in one call', async () => {
    const sizes: number[] = [];
    const echo = new Batcher(4, async (items: readonly number[]) => {
      sizes.push(items.length);
      return items;
    });
    const values = Array.from({ length: 10 }, (_, i) => i);
    expect(await Promise.all(values.map((value) => echo.add(value)))).toEqual(values);
    expect(sizes).toEqual([4, 4, 2]);
  });

  /** A batcher whose calls end when the test ends them. */
  function openEnded(maxWaitMs: number) {
    const calls: { readonly items: readonly number[]; readonly end: () => void }[] = [];
    const send = (items: readonly number[]) => {
      const ended = Promise.withResolvers<readonly number[]>();
      calls.push({ items, end: () => ended.resolve(items) });
      return ended.promise;
    };
    const batcher = new Batcher(10, send, { maxWaitMs });
    /** Adds 1, 2, ... `count`, each in its own event-loop turn; gives the answers to come. */
    const addInTurns = async (count: number) => {
      const answers: Promise<number>[] = [];
      for (let value = 1; value <= count; value++) {
        answers.push(batcher.add(value));
        await endTurn();
      }
      return answers;
    };
    return { calls, addInTurns };
  }

  it('collects items while three calls are under way, and sends them when one ends', async () => {
    const { calls, addInTurns } = openEnded(60_000);
    const answers = await addInTurns(6);
    expect(calls.map(({ items }) => items)).toEqual([[1], [2], [3]]);
    calls[1].end();
    expect(await answers[1]).toBe(2);
    expect(calls.map(({ items }) => items)).toEqual([[1], [2], [3], [4, 5, 6]]);
    for (const { end } of calls) end();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('sends items after `maxWaitMs` although no call has ended', async () => {
    const { calls, addInTurns } = openEnded(5);
    const answers = await addInTurns(5);
    while (calls.flatMap(({ items }) => items).length < 5)
      await new Promise((resolve) => setTimeout(resolve, 5));
    for (const { end } of calls.slice(3)) end();
    expect(await Promise.all(answers.slice(3))).toEqual([4, 5]);
  });

  it('rejects all items of a call that fails, and no later ones', async () => {
    let isAway = true;
    const failing = new Batcher(10, async (items: readonly number[]) => {
      if (isAway) throw new Error('away');
      return items;
    });
    const outcomes = await Promise.allSettled([failing.add(1), failing.add(2)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isAway = false;
    expect(await failing.add(3)).toBe(3);
  });
});
