import { describe, expect, it } from 'vitest';
import { generateSecret, resolveSecret, rotateSecrets, signedHeaders } from '../../src/webhooks/secrets.ts';

describe('secrets', () => {
  it('of a client have 24 to 64 bytes, and are not quoted in errors', () => {
    const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`;
    for (const bytes of [24, 32, 64]) expect(resolveSecret(of(bytes), '/secret')).toBe(of(bytes));
    for (const wrong of [
      of(23),
      of(65),
      'whsec_',
      of(32).slice('whsec_'.length),
      `${of(32)}!`,
      of(25).replace(/=+$/, ''),
    ]) {
      expect(() => resolveSecret(wrong, '/secret')).toThrow(/24 to 64 bytes/);
      if (wrong !== 'whsec_') expect(() => resolveSecret(wrong, '/secret')).not.toThrow(wrong);
    }
    expect(resolveSecret(undefined, '/secret')).not.toBe(generateSecret());
  });

  it('sign until their end: at most three after rotations', () => {
    const now = new Date('2026-01-01T00:00:00Z');
    let secrets = rotateSecrets([{ secret: generateSecret(), validUntil: null }], generateSecret(), 60, now);
    const count = (at: Date) =>
      signedHeaders('evt_1', '{}', secrets, at)['webhook-signature'].split(' ').length;
    expect([
      count(now),
      count(new Date(now.getTime() + 59_000)),
      count(new Date(now.getTime() + 61_000)),
    ]).toEqual([2, 2, 1]);
    for (let i = 0; i < 5; i++) secrets = rotateSecrets(secrets, generateSecret(), 60, now);
    expect(count(now)).toBe(3);
    secrets = rotateSecrets(secrets, generateSecret(), 0, now);
    expect(count(now)).toBe(1);
  });
});
