import { describe, expect, it } from 'vitest';
import { Batcher } from '../../src/redis/batcher.ts';

describe('what is asked for together', () => {
  it('goes into one call a turn of the event loop, and each gets its own answer', async () => {
    const calls: number[][] = [];
    const doubled = new Batcher(10, async (all: readonly number[]) => {
      calls.push([...all]);
      return all.map((value) => 2 * value);
    });
    expect(await Promise.all([1, 2, 3].map((value) => doubled.add(value)))).toEqual([2, 4, 6]);
    expect(await doubled.add(4)).toBe(8);
    expect(calls).toEqual([[1, 2, 3], [4]]);
  });

  it('is never more than the most that there may be', async () => {
    const sizes: number[] = [];
    const same = new Batcher(4, async (all: readonly number[]) => {
      sizes.push(all.length);
      return all;
    });
    const values = Array.from({ length: 10 }, (_, i) => i);
    expect(await Promise.all(values.map((value) => same.add(value)))).toEqual(values);
    expect(sizes).toEqual([4, 4, 2]);
  });

  /** Calls that end when they are told to. */
  function openEnded(patience: number) {
    const calls: { readonly all: readonly number[]; readonly end: () => void }[] = [];
    const send = (all: readonly number[]) => {
      const ended = Promise.withResolvers<readonly number[]>();
      calls.push({ all, end: () => ended.resolve(all) });
      return ended.promise;
    };
    const slow = new Batcher(10, send, { patience });
    /** For 1, 2, ... up to `count`, each in a turn of the event loop of its own; gives the answers to come. */
    const askInTurns = async (count: number) => {
      const answers: Promise<number>[] = [];
      for (let value = 1; value <= count; value++) {
        answers.push(slow.add(value));
        await new Promise((resolve) => setImmediate(resolve));
      }
      return answers;
    };
    return { calls, askInTurns };
  }

  it('waits for a call to end where three are under way, and then goes together', async () => {
    const { calls, askInTurns } = openEnded(60_000);
    const answers = await askInTurns(6);
    expect(calls.map(({ all }) => all)).toEqual([[1], [2], [3]]);
    calls[1].end();
    expect(await answers[1]).toBe(2);
    expect(calls.map(({ all }) => all)).toEqual([[1], [2], [3], [4, 5, 6]]);
    for (const { end } of calls) end();
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('does not wait for long: a call without an answer holds up no other', async () => {
    const { calls, askInTurns } = openEnded(5);
    const answers = await askInTurns(5);
    while (calls.flatMap(({ all }) => all).length < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const { end } of calls.slice(3)) end();
    expect(await Promise.all(answers.slice(3))).toEqual([4, 5]);
  });

  it('fails together, and not with what comes later', async () => {
    let isAway = true;
    const sometimes = new Batcher(10, async (all: readonly number[]) => {
      if (isAway) throw new Error('away');
      return all;
    });
    const outcomes = await Promise.allSettled([sometimes.add(1), sometimes.add(2)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isAway = false;
    expect(await sometimes.add(3)).toBe(3);
  });
});
