import { describe, expect, it } from 'vitest';
import { ConcurrencyLimiter } from '../../src/webhooks/concurrency-limiter.ts';

describe('ConcurrencyLimiter', () => {
  const end = (release: (() => void) | string) => typeof release === 'function' && release();

  it('answers "slow" while a host has eight slow attempts of a tenant, and only for that host', async () => {
    let now = 0;
    const limiter = new ConcurrencyLimiter(() => now, 0);
    const slow = await Promise.all(Array.from({ length: 16 }, () => limiter.acquire('acme', 'slow.test')));
    expect(slow).toEqual(slow.map(() => expect.any(Function)));
    now = 2001;
    for (const release of slow.slice(0, 8)) end(release);
    expect(await limiter.acquire('acme', 'slow.test'), 'eight attempts are slow').toBe('slow');
    expect(await limiter.acquire('acme', 'other.test')).toBeTypeOf('function');
    expect(await limiter.acquire('rival', 'slow.test'), 'of another tenant').toBeTypeOf('function');
    end(slow[8]);
    expect(await limiter.acquire('acme', 'slow.test')).toBeTypeOf('function');
  });

  it('allows 16 attempts of a tenant to a host, and 32 to all hosts', async () => {
    const limiter = new ConcurrencyLimiter(() => 0, 0);
    const acquire = (count: number, host: string) =>
      Promise.all(Array.from({ length: count }, () => limiter.acquire('acme', host)));
    const [a, b] = [await acquire(17, 'a.test'), await acquire(17, 'b.test')];
    expect([a, b].map((some) => some.filter((result) => result !== 'full').length)).toEqual([16, 16]);
    expect(await limiter.acquire('acme', 'c.test')).toBe('full');
    expect(await limiter.acquire('rival', 'a.test')).toBeTypeOf('function');
    end(a[0]);
    expect(await limiter.acquire('acme', 'c.test')).toBeTypeOf('function');
  });

  it('gives a free place to a waiting call as soon as an attempt ends', async () => {
    const limiter = new ConcurrencyLimiter(() => 0, 10_000);
    const running = await Promise.all(Array.from({ length: 16 }, () => limiter.acquire('acme', 'a.test')));
    let acquired = 0;
    const waiting = Array.from({ length: 3 }, () => limiter.acquire('acme', 'a.test').then(() => acquired++));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(acquired).toBe(0);
    for (const release of running.slice(0, 2)) end(release);
    await expect.poll(() => acquired).toBe(2);
    end(running[2]);
    await Promise.all(waiting);
  });
});
