import { randomUUID } from 'node:crypto';
import { newUlid } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { defineScript } from '../redis/lua-script.ts';
import { sha256Of } from '../sha256.ts';
import type { TenantContext } from './tenant-context.ts';

/** How long a key is remembered, from its first request on. */
const TTL_SECONDS = 86_400;
/** Time after which a request whose process died is taken over. Its process renews it meanwhile. */
const LEASE_MS = 15_000;

type Began =
  | readonly ['new' | 'resumed' | 'again', ulid: string]
  | readonly ['answered' | 'mismatch', answer: string]
  | readonly ['earlier', json: string]
  | readonly ['running'];

const beginScript = defineScript<Began>(import.meta.url, './lua/begin-idempotent.lua');
const endScript = defineScript<0 | 1>(import.meta.url, './lua/end-idempotent.lua');

/** What became of a request with an idempotency key. */
export type IdempotentStart =
  /** The caller carries the request out, and calls `end`. */
  | { readonly state: 'begun'; readonly request: IdempotentRequest }
  /** The answer is made again from the record with this ULID, which exists or was deleted. */
  | { readonly state: 'again'; readonly ulid: string }
  | { readonly state: 'answered'; readonly answer: string }
  | { readonly state: 'running' }
  /** `answer`: of the request to which the key belongs; '': it has none yet. */
  | { readonly state: 'mismatch'; readonly answer: string };

/**
 * The requests of a tenant by their `Idempotency-Key`. Keys of different tenants are independent.
 */
export class IdempotencyKeys {
  readonly #context: Pick<TenantContext, 'redis' | 'keys' | 'tenant'>;

  constructor(context: Pick<TenantContext, 'redis' | 'keys' | 'tenant'>) {
    this.#context = context;
  }

  /** The message on the channel of changes when a request with this key ends. */
  message(key: string): string {
    const { tenant } = this.#context;
    // A header value cannot contain a line break, so no key can name another tenant.
    return sha256Of(tenant === DEFAULT_TENANT ? key : `${tenant}\n${key}`);
  }

  /**
   * Begins a request.
   * @param fingerprint hash of the request
   * @param earlierDigest the hash that release 0.1 had of it, whose keys live for a day after an
   *   upgrade
   */
  async begin(key: string, fingerprint: string, earlierDigest: () => string): Promise<IdempotentStart> {
    const { redis, keys } = this.#context;
    const message = this.message(key);
    const entry = keys.idempotency(message);
    const token = randomUUID();
    const [state, value = ''] = await beginScript(redis, {
      keys: { entry },
      args: { fingerprint, ulid: newUlid(), token, leaseMs: LEASE_MS, ttlSeconds: TTL_SECONDS },
    });
    switch (state) {
      case 'new':
      case 'resumed': {
        const isNew = state === 'new';
        const args = { token, channel: keys.changes(), message };
        const end = (answer: string, leaseMs: number | '') =>
          endScript(redis, { keys: { entry }, args: { ...args, answer, leaseMs } });
        return { state: 'begun', request: new IdempotentRequest(value, isNew, end) };
      }
      case 'earlier': {
        const { id, digest } = JSON.parse(value) as { id: string; digest: string };
        if (digest === earlierDigest()) return { state: 'again', ulid: id.slice(id.indexOf('_') + 1) };
        return { state: 'mismatch', answer: JSON.stringify({ headers: { location: id } }) };
      }
      case 'again':
        return { state, ulid: value };
      case 'answered':
      case 'mismatch':
        return { state, answer: value };
      default:
        return { state };
    }
  }
}

/** A request with an idempotency key that this process carries out. */
export class IdempotentRequest {
  /** The last 26 characters of the id of the record that the request creates. */
  readonly ulid: string;
  /** False: an earlier attempt may have created the record. */
  readonly isNew: boolean;
  readonly #end: (answer: string, leaseMs: number | '') => Promise<0 | 1>;
  readonly #renewal: NodeJS.Timeout;

  constructor(ulid: string, isNew: boolean, end: (answer: string, leaseMs: number | '') => Promise<0 | 1>) {
    this.ulid = ulid;
    this.isNew = isNew;
    this.#end = end;
    // A failed renewal is repeated by the next one; without any, another request takes over.
    this.#renewal = setInterval(() => void end('', LEASE_MS).catch(() => {}), LEASE_MS / 3);
    this.#renewal.unref();
  }

  /**
   * Ends the request.
   * @param answer JSON that is repeated from now on; `again`: it is made again from the record;
   *   null: none, the next request is carried out
   */
  async end(answer: string | null): Promise<void> {
    clearInterval(this.#renewal);
    await this.#end(answer ?? '', '');
  }
}
