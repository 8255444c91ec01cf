import { describe, expect, it } from 'vitest';
import { ImportLimiter } from '../../src/api/policies/import-limiter.ts';

describe('ImportLimiter', () => {
  it('limits the bytes of each tenant, and of all tenants together', () => {
    const limiter = new ImportLimiter(100);
    const ends = ['a', 'a', 'b', 'b'].map((tenant) => limiter.start(tenant, '100'));
    expect(() => limiter.start('a', '1')).toThrow(
      expect.objectContaining({ code: 'rate-limited', retryAfter: 2, message: expect.stringMatching(/200/) }),
    );
    expect(() => limiter.start('c', '1')).toThrow(
      expect.objectContaining({ code: 'unavailable', retryAfter: 2, message: expect.stringMatching(/400/) }),
    );
    ends[0]();
    ends[0]();
    limiter.start('c', '60')();
    limiter.start('c', undefined);
    expect(() => limiter.start('a', '1')).toThrow('of all tenants');
  });

  it('counts many small files by their bytes', () => {
    const limiter = new ImportLimiter(100);
    for (let i = 0; i < 20; i++) limiter.start('a', '10');
    expect(() => limiter.start('a', '10')).toThrow('of a tenant');
  });
});
