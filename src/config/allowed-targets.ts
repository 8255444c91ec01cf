import { BlockList, isIP } from 'node:net';

/**
 * Targets beyond the public internet that an operator allows: addresses, CIDRs, and names of hosts. What is allowed may be
 * reached over plain http and at any port, too.
 */
export class AllowedTargets {
  readonly #addresses = new BlockList();
  readonly #hosts = new Set<string>();

  /** @throws Error naming the first of `entries` that is no address, CIDR or name of a host */
  constructor(entries: readonly string[] = []) {
    for (const entry of entries) this.#add(entry);
  }

  #add(entry: string): void {
    const [address, bits, ...rest] = entry.split('/');
    const version = isIP(address);
    if (version === 0) {
      if (bits !== undefined || !/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(entry))
        throw new Error(`"${entry}" is no IP address, CIDR or name of a host`);
      this.#hosts.add(entry.toLowerCase());
      return;
    }
    const most = version === 4 ? 32 : 128;
    if (rest.length > 0 || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most)))
      throw new Error(`"${entry}" has no prefix length from 0 to ${most}`);
    this.#addresses.addSubnet(
      address,
      bits === undefined ? most : Number(bits),
      version === 4 ? 'ipv4' : 'ipv6',
    );
  }

  /** Whether a host is allowed by its name: whatever it resolves to. */
  hasHost(name: string): boolean {
    return this.#hosts.has(name.toLowerCase().replace(/\.$/, ''));
  }

  /** Whether an IP address is allowed. */
  hasAddress(address: string): boolean {
    return this.#addresses.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
}
