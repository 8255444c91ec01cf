import { describe, expect, it } from 'vitest';
import { AllowedTargets } from '../../src/config/allowed-targets.ts';

describe('AllowedTargets', () => {
  it.each(['10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/', 'a/b', '-x', 'http://x', 'x:80', '::1/129'])(
    'rejects the entry "%s" and names it',
    (entry) => {
      expect(() => new AllowedTargets([entry])).toThrow(entry);
    },
  );

  it('matches addresses, networks, and host names without regard to case or a last dot', () => {
    const allowed = new AllowedTargets(['10.0.0.0/8', 'fd00::/8', '127.0.0.1', 'hooks.internal']);
    expect(['10.9.8.7', 'fd12::1', '127.0.0.1'].map((address) => allowed.hasAddress(address))).toEqual([
      true,
      true,
      true,
    ]);
    expect(['11.0.0.1', 'fe80::1', '127.0.0.2'].map((address) => allowed.hasAddress(address))).toEqual([
      false,
      false,
      false,
    ]);
    expect(['HOOKS.internal.', 'x.hooks.internal'].map((name) => allowed.hasHost(name))).toEqual([
      true,
      false,
    ]);
  });
});
