import { describe, expect, it } from 'vitest';
import { inBackground, unpaced } from '../../src/maintenance/sweep/pace.ts';

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) yield i;
}

/** Keeps the processor busy. */
function work(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

describe('the pace of a sweep', () => {
  it('yields all items in their order', async () => {
    const all = Array.from({ length: 250 }, (_, i) => i);
    expect(await Array.fromAsync(unpaced(numbers(250)))).toEqual(all);
    expect(await Array.fromAsync(inBackground(new AbortController().signal)(numbers(250)))).toEqual(all);
  });

  it('rests nine times as long as it works when in the background', async () => {
    const began = performance.now();
    for await (const _ of inBackground(new AbortController().signal)(numbers(200))) work(0.1);
    expect(performance.now() - began).toBeGreaterThan(9 * 200 * 0.1);
  });

  it('ends with an AbortError when the process ends', async () => {
    const closing = new AbortController();
    const iteration = (async () => {
      for await (const i of inBackground(closing.signal)(numbers(1000)))
        if (i === 99) setTimeout(() => closing.abort(), 1);
    })();
    await expect(iteration).rejects.toMatchObject({ name: 'AbortError' });
  });
});
