import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { AllowedTargets } from '../config/allowed-targets.ts';

/**
 * The target must not be called. The message says why; it is for clients and quotes no part that
 * may be secret.
 */
export class ForbiddenTargetError extends Error {
  override readonly name = 'ForbiddenTargetError';
}

/** Resolves the name of a host to its IP addresses. */
export type Resolve = (
  host: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/**
 * Resolves by the system, with `/etc/hosts` and search domains. At most two lookups run at a time.
 */
export const resolveBySystem: Resolve = limitLookups((host) => lookup(host, { all: true }), 2);

/** A checked target. The request goes to these addresses; the name is not resolved again. */
export interface Target {
  readonly url: URL;
  readonly addresses: readonly { readonly address: string; readonly family: number }[];
}

/** Ports below belong to other protocols. Only 443 is allowed among them. */
const FIRST_UNPRIVILEGED_PORT = 1024;

/**
 * Checks a URL without resolving its host: form, scheme, port, and the address if the host is an IP
 * address.
 * @returns the URL in its normal form (decimal, octal and short IP addresses are written out)
 * @throws ForbiddenTargetError that says what is wrong and what is accepted
 */
export function checkUrl(text: string, allowed: AllowedTargets): URL {
  const refuse = (reason: string) => new ForbiddenTargetError(`${reason}.`);
  // The URL parser would silently remove these.
  if (/[\s\\\p{Cc}]/u.test(text)) throw refuse('The URL contains spaces, backslashes or control characters');
  if (!URL.canParse(text)) throw refuse('The URL can not be parsed; the form is https://host/path');
  const url = new URL(text);
  const host = hostOf(url);
  const isAllowed = allowed.hasHost(host) || (isIP(host) !== 0 && allowed.hasAddress(host));
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw refuse(`The URL has the scheme "${url.protocol.slice(0, 20)}"; it must be https://`);
  if (url.username !== '' || url.password !== '')
    throw refuse(
      'The URL contains a user name or a password; deliveries are signed instead (webhook-signature)',
    );
  if (url.protocol === 'http:' && !isAllowed)
    throw refuse('The URL is http://; it must be https://, unless FINDERY_WEBHOOK_ALLOW names the host');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (!isAllowed && port !== 443 && port < FIRST_UNPRIVILEGED_PORT)
    throw refuse(`The URL has the port ${port}; it must be 443 or ${FIRST_UNPRIVILEGED_PORT} to 65535`);
  if (port === 0) throw refuse('The URL has the port 0; it must be 443 or 1024 to 65535');
  if (/(^|\.)localhost\.?$/i.test(host) && !isAllowed)
    throw refuse(`The host ${host} is the server itself, which can't be a webhook target`);
  if (isIP(host) !== 0) checkAddress(host, host, allowed);
  return url;
}

/**
 * Resolves a target once and checks each of its addresses.
 * @throws ForbiddenTargetError when an address is neither public nor allowed
 * @throws Error when the host has no address
 */
export async function resolveTarget(
  text: string,
  allowed: AllowedTargets,
  resolve: Resolve,
): Promise<Target> {
  const url = checkUrl(text, allowed);
  const host = hostOf(url);
  const version = isIP(host);
  if (version !== 0) return { url, addresses: [{ address: host, family: version }] };
  const addresses = await resolve(host);
  if (addresses.length === 0) throw new Error(`${host} has no address`);
  if (!allowed.hasHost(host)) for (const { address } of addresses) checkAddress(address, host, allowed);
  return { url, addresses };
}

/** The host of a URL, without the brackets of an IPv6 address. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function checkAddress(address: string, host: string, allowed: AllowedTargets): void {
  if (isPublic(address) || allowed.hasAddress(address)) return;
  const what =
    host === address ? `The address ${host} is` : `The host ${host} has the address ${address}, which is`;
  throw new ForbiddenTargetError(
    `${what} not in the public internet; ` +
      'such targets are called only when FINDERY_WEBHOOK_ALLOW names them.',
  );
}

/**
 * Public by their numbers, but reached inside of a cloud only: Azure's wire server, which hands out
 * the machine's configuration.
 */
const PLATFORM_ADDRESSES: readonly string[] = ['168.63.129.16'];

/** Whether the address is global unicast without a special use. Unknown ranges are not public. */
function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast' || PLATFORM_ADDRESSES.includes(parsed.toString())) return false;
  // IANA has assigned only 2000::/3. The rest (IPv4-compatible, translated, local) is not public.
  return parsed.kind() === 'ipv4' || (parsed as ipaddr.IPv6).match(ipaddr.IPv6.parse('2000::'), 3);
}

/**
 * Limits the lookups that run at a time. A lookup occupies a thread of libuv's pool until the name
 * server answers. The same few threads read files, so many slow lookups would block all file
 * access.
 */
function limitLookups(resolve: Resolve, limit: number): Resolve {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (host) => {
    if (running >= limit) await new Promise<void>((resume) => waiting.push(resume));
    else running++;
    try {
      return await resolve(host);
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}
