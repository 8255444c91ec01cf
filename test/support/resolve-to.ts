import type { Resolve } from '../../src/webhooks/resolve-target.ts';

/** A name server that answers every name with `addresses`. */
export function resolveTo(...addresses: string[]): Resolve {
  return async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
}
