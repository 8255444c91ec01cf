import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { AllowedTargets } from '../config/allowed-targets.ts';

/** Why a target is not to be called; the message is for clients and quotes nothing that may be a secret. */
export class ForbiddenTargetError extends Error {
  override readonly name = 'ForbiddenTargetError';
}

/** Finds the addresses of a host. */
export type Resolve = (
  host: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/** As the system does it, `/etc/hosts` and search domains included. */
export const resolveBySystem: Resolve = limitLookups((host) => lookup(host, { all: true }), 2);

/** Where a request goes: the very addresses that were checked, never the name again. */
export interface Target {
  readonly url: URL;
  readonly addresses: readonly { readonly address: string; readonly family: number }[];
}

/** Ports of other protocols lie below this; a request can't be made to speak to them. */
const FIRST_FREE_PORT = 1024;

/**
 * Checks what can be told of an address without asking anybody: its form, its scheme, its port, an IP address in it.
 * @returns the URL as it will be called (decimal, octal and short IP addresses are written out)
 * @throws ForbiddenTargetError with what is wrong and what is accepted
 */
export function checkUrl(text: string, allowed: AllowedTargets): URL {
  const refuse = (reason: string) => new ForbiddenTargetError(`${reason}.`);
  // The parser would take these away in silence.
  if (/[\s\\\p{Cc}]/u.test(text)) throw refuse('The URL has spaces, backslashes or control characters in it');
  if (!URL.canParse(text)) throw refuse('The URL can not be parsed; it takes https://host/path');
  const url = new URL(text);
  const host = hostOf(url);
  const isAllowed = allowed.hasHost(host) || (isIP(host) !== 0 && allowed.hasAddress(host));
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw refuse(`The URL has the scheme "${url.protocol.slice(0, 20)}"; it takes https://`);
  if (url.username !== '' || url.password !== '')
    throw refuse(
      'The URL has a user name or a password in it; deliveries are signed instead (webhook-signature)',
    );
  if (url.protocol === 'http:' && !isAllowed)
    throw refuse(
      'The URL is http://; it takes https://, and http:// only for what FINDERY_WEBHOOK_ALLOW names',
    );
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (!isAllowed && port !== 443 && port < FIRST_FREE_PORT)
    throw refuse(`The URL has the port ${port}; it takes 443 and ${FIRST_FREE_PORT} to 65535`);
  if (port === 0) throw refuse('The URL has the port 0; it takes 443 and 1024 to 65535');
  if (/(^|\.)localhost\.?$/i.test(host) && !isAllowed)
    throw refuse(`The host ${host} is this machine, which is not called`);
  if (isIP(host) !== 0) checkAddress(host, host, allowed);
  return url;
}

/**
 * Resolves a target, once, and checks every address that it has.
 * @throws ForbiddenTargetError when one of them is none of the public internet's and not allowed
 * @throws Error when the name has no address
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

/** The host without the brackets that an IPv6 address has in a URL. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function checkAddress(address: string, host: string, allowed: AllowedTargets): void {
  if (isPublic(address) || allowed.hasAddress(address)) return;
  const what =
    host === address ? `The address ${host} is` : `The host ${host} has the address ${address}, which is`;
  throw new ForbiddenTargetError(
    `${what} not in the public internet; such targets are called only when FINDERY_WEBHOOK_ALLOW names them.`,
  );
}

/** Global unicast, of no special use: what is not known to be public is not. */
function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  // All that IANA has given out lies in 2000::/3; the rest (IPv4-compatible, translated, local) is not for the open net.
  return parsed.kind() === 'ipv4' || (parsed as ipaddr.IPv6).match(ipaddr.IPv6.parse('2000::'), 3);
}

/**
 * At most so many lookups at a time. The system's resolver holds a thread of libuv's pool while a name server is silent; files
 * are read by the same few threads, and names that resolve slowly would stop them all.
 */
function limitLookups(resolve: Resolve, most: number): Resolve {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (host) => {
    if (running >= most) await new Promise<void>((turn) => waiting.push(turn));
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
