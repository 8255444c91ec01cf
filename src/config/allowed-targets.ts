import { BlockList, isIP } from 'node:net';

const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;

/**
 * Webhook targets that an operator allows beyond the public internet: IP addresses, CIDRs and host
 * names. An allowed target may also be called over plain http and at any port.
 */
export class AllowedTargets {
  readonly #addresses = new BlockList();
  readonly #hosts = new Set<string>();

  /** @throws Error that names the first entry that is no address, CIDR or host name */
  constructor(entries: readonly string[] = []) {
    for (const entry of entries) this.#add(entry);
  }

  #add(entry: string): void {
    const [address, bits, ...rest] = entry.split('/');
    const version = isIP(address);
    if (version === 0) {
      if (bits !== undefined || !HOST_NAME.test(entry))
        throw new Error(`"${entry}" is not an IP address, a CIDR or a host name`);
      this.#hosts.add(entry.toLowerCase());
      return;
    }
    const maxBits = version === 4 ? 32 : 128;
    const isPrefixLength = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= maxBits);
    if (rest.length > 0 || !isPrefixLength)
      throw new Error(`"${entry}" needs a prefix length from 0 to ${maxBits}`);
    this.#addresses.addSubnet(
      address,
      bits === undefined ? maxBits : Number(bits),
      version === 4 ? 'ipv4' : 'ipv6',
    );
  }

  /** Whether the host is allowed by its name. The addresses it resolves to are then not checked. */
  hasHost(name: string): boolean {
    return this.#hosts.has(name.toLowerCase().replace(/\.$/, ''));
  }

  /** Whether the IP address is allowed. */
  hasAddress(address: string): boolean {
    return this.#addresses.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
}
