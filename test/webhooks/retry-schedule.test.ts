import { describe, expect, it } from 'vitest';
import { retryDelay } from '../../src/webhooks/retry-schedule.ts';

describe('retry delays', () => {
  it('take about a day, grow, have jitter, and respect Retry-After', () => {
    const delay = (attempts: number, random = 0.5, retryAfter: number | null = null) =>
      retryDelay(attempts, { first: 6, retryAfter, random }) / 1000;
    const all = Array.from({ length: 11 }, (_, i) => delay(i + 1));
    const hours = all.reduce((sum, one) => sum + one, 0) / 3600;
    expect(hours).toBeGreaterThan(22);
    expect(hours).toBeLessThan(26);
    expect(all).toEqual([...all].sort((a, b) => a - b));
    expect([delay(1, 0), delay(1, 0.999)].map(Math.round)).toEqual([5, 7]);
    expect([delay(1, 0.5, 100), delay(1, 0.5, 1e9), delay(9, 0.5, 1)]).toEqual([100, 21_600, 21_600]);
  });
});
