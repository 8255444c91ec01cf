import type { FastifyRequest } from 'fastify';
import { ProblemError } from '../../contract/problem.ts';
import { type Authenticator, type Credentials, proxyHeader } from './authenticator.ts';

/** Interval at which the keys of held answers are checked again. */
const CHECK_INTERVAL_MS = 1000;

/**
 * Ends answers that stay open (event streams, `Prefer: wait`) when their key stops being valid: it
 * was revoked or has expired, or the service has keys now and the request has none. Each key is
 * looked up once an interval, however many answers it holds open.
 */
export class KeyWatch {
  readonly #authenticator: Authenticator;
  readonly #held = new Map<string, { credentials: Credentials; controllers: Set<AbortController> }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(authenticator: Authenticator) {
    this.#authenticator = authenticator;
  }

  /**
   * Watches the key of a request.
   * @param controller aborts with the ProblemError `unauthorized` once the key is not valid
   * @returns a function that ends the watch
   */
  watch({ headers, hostname }: FastifyRequest, controller: AbortController): () => void {
    const credentials = { headers, hostname };
    // Requests with the same headers that say who sends them share an entry.
    const name = JSON.stringify([headers.authorization, hostname, proxyHeader(headers)]);
    const entry = this.#held.get(name) ?? { credentials, controllers: new Set() };
    this.#held.set(name, entry);
    entry.controllers.add(controller);
    this.#timer ??= setInterval(() => void this.#check(), CHECK_INTERVAL_MS).unref();
    return () => {
      entry.controllers.delete(controller);
      if (entry.controllers.size === 0 && this.#held.get(name) === entry) this.#held.delete(name);
      if (this.#held.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  async #check(): Promise<void> {
    const checks = [...this.#held.values()].map(async ({ credentials, controllers }) => {
      try {
        await this.#authenticator.authenticate(credentials);
      } catch (error) {
        // Any other error means that Redis is away, which says nothing about the key.
        if (error instanceof ProblemError) for (const controller of [...controllers]) controller.abort(error);
      }
    });
    await Promise.all(checks);
  }
}
