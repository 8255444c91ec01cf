import type { FastifyInstance, FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { ProblemError } from '../contract/problem.ts';

const MINUTE = 60_000;

/** Counts, in Redis, the requests of each address whose key does not count, and answers 429 to one that sends too many. */
export class FailedKeys {
  readonly #most: number;
  readonly #count: ReturnType<FastifyInstance['createRateLimit']>;

  /**
   * @param app with the plugin of rate limits
   * @param most in a minute from one address; 0: no limit
   */
  constructor(app: FastifyInstance, most: number) {
    this.#most = most;
    this.#count = app.createRateLimit({
      max: most,
      timeWindow: MINUTE,
      keyGenerator: ({ ip }) => `failed:${networkOf(ip)}`,
    });
  }

  /**
   * To be asked before a key is looked up that is not known to count: who guesses learns nothing more in this minute. Keys that are
   * in use are not asked for it, so nobody locks out those who share an address with him.
   * @throws ProblemError `rate-limited` when its address has sent too many that do not count
   */
  async check(request: FastifyRequest): Promise<void> {
    if (this.#most > 0) this.#refuse(await this.#count(request, { increment: false }));
  }

  /**
   * One more that does not count.
   * @throws ProblemError `rate-limited` when that was one too many
   */
  async note(request: FastifyRequest): Promise<void> {
    if (this.#most > 0) this.#refuse(await this.#count(request));
  }

  #refuse(counted: Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>): void {
    if (counted.isAllowed || !counted.isExceeded) return;
    const seconds = Math.max(1, counted.ttlInSeconds);
    throw new ProblemError(
      'rate-limited',
      `Too many requests with keys that do not count came from your address: more than ${this.#most} in a minute. Look at your key, and try again in ${seconds} s.`,
      undefined,
      seconds,
    );
  }
}

/** Who counts as one address: an IPv4 address; a /64 of IPv6, for that is what one client has. */
export function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  return parsed.kind() === 'ipv4'
    ? parsed.toString()
    : ipaddr.IPv6.networkAddressFromCIDR(`${parsed}/64`).toString();
}
