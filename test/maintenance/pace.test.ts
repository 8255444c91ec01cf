import { describe, expect, it } from 'vitest';
import { atOnce, beside } from '../../src/maintenance/sweep/pace.ts';

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) yield i;
}

/** Keeps the processor for so long. */
function work(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

describe('the pace of a sweep', () => {
  it('passes on all that comes, in its order', async () => {
    const all = Array.from({ length: 250 }, (_, i) => i);
    expect(await Array.fromAsync(atOnce(numbers(250)))).toEqual(all);
    expect(await Array.fromAsync(beside(new AbortController().signal)(numbers(250)))).toEqual(all);
  });

  it('rests nine times as long as it works, beside other work', async () => {
    const began = performance.now();
    for await (const _ of beside(new AbortController().signal)(numbers(200))) work(0.1);
    expect(performance.now() - began).toBeGreaterThan(9 * 200 * 0.1);
  });

  it('ends when the process does', async () => {
    const closing = new AbortController();
    const going = (async () => {
      for await (const i of beside(closing.signal)(numbers(1000)))
        if (i === 99) setTimeout(() => closing.abort(), 1);
    })();
    await expect(going).rejects.toMatchObject({ name: 'AbortError' });
  });
});
