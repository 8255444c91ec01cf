import type { FastifyInstance, FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { ProblemError } from '../../contract/problem.ts';

const WINDOW_MS = 60_000;

type Counter = ReturnType<FastifyInstance['createRateLimit']>;

/** Limits failed authentication per address; all API processes share the counts in Redis. */
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
   * Checks the limit before a key is looked up that is not cached, so that guessing yields nothing
   * for the rest of the minute. Keys in use are not checked: one client cannot lock out the others
   * behind its address.
   * @throws ProblemError `rate-limited` when the address is over its limit
   */
  async check(request: FastifyRequest): Promise<void> {
    if (this.#max > 0) this.#throwIfExceeded(await this.#count(request, { increment: false }));
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
