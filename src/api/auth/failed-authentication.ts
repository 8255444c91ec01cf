import type { FastifyInstance, FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { ProblemError } from '../../contract/problem.ts';

const WINDOW_MS = 60_000;

type Counter = ReturnType<FastifyInstance['createRateLimit']>;

/**
 * Limits failed authentication per address; all API processes share the counts in Redis. A key is
 * looked up first (one read of Redis), so wrong keys never lock out a valid one behind the same
 * address, whichever process it reaches. Beyond the limit every wrong key gets the same 429, so
 * the sender learns nothing about it (unknown, revoked, expired).
 */
export class FailedAuthenticationLimiter {
  readonly #max: number;
  readonly #count: Counter;

  /**
   * @param app with the plugin of rate limits
   * @param max requests with invalid keys in a minute from one address; 0: no limit
   */
  constructor(app: FastifyInstance, max: number) {
    this.#max = max;
    this.#count = app.createRateLimit({
      max,
      timeWindow: WINDOW_MS,
      keyGenerator: ({ ip }) => `failed:${networkOf(ip)}`,
    });
  }

  /**
   * Counts a request with an invalid key.
   * @throws ProblemError `rate-limited` when it is over the limit of its address
   */
  async record(request: FastifyRequest): Promise<void> {
    if (this.#max > 0) this.#throwIfExceeded(await this.#count(request));
  }

  #throwIfExceeded(counted: Awaited<ReturnType<Counter>>): void {
    if (counted.isAllowed || !counted.isExceeded) return;
    const seconds = Math.max(1, counted.ttlInSeconds);
    throw new ProblemError(
      'rate-limited',
      `Your address has sent more than ${this.#max} requests with invalid keys in a minute. ` +
        `Check your key, and try again in ${seconds} s.`,
      undefined,
      seconds,
    );
  }
}

/**
 * The unit that is limited: an IPv4 address, or a /64 of IPv6, because one client has a whole /64.
 */
export function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  return parsed.kind() === 'ipv4'
    ? parsed.toString()
    : ipaddr.IPv6.networkAddressFromCIDR(`${parsed}/64`).toString();
}
