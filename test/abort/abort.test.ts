import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { abortedWith } from '../../src/abort.ts';

it('aborts with its source and the same reason, or earlier without it', () => {
  const source = new AbortController();
  const [first, second] = [abortedWith(source.signal), abortedWith(source.signal)];
  first.abort();
  expect([first.signal.aborted, second.signal.aborted, source.signal.aborted]).toEqual([true, false, false]);
  source.abort(new Error('it ends'));
  expect(second.signal.reason).toEqual(new Error('it ends'));
  expect(abortedWith(source.signal).signal.reason).toEqual(new Error('it ends'));
});

it('keeps no aborted controller in memory while its source lives', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const source = new AbortController();
  const measure = async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const before = await measure();
  for (let i = 0; i < 500; i++) {
    const bytes = new Uint8Array(100_000);
    const one = abortedWith(source.signal);
    one.signal.addEventListener('abort', () => bytes.fill(1));
    one.abort();
  }
  // The arrays have 50 million bytes in all.
  await expect.poll(async () => (await measure()) - before, { timeout: 4000 }).toBeLessThan(5_000_000);
  source.abort();
});
