import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../../config/config.ts';
import { ProblemError } from '../../contract/problem.ts';
import { DEFAULT_TENANT } from '../../contract/tenants.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import { hadKeys, rememberKeys } from '../../storage/keys-marker.ts';
import type { SharedStore } from '../../store/store.ts';
import { type ApiKey, ApiKeys, type Limits, NO_LIMITS, type Scope } from '../../tenancy/api-keys.ts';

/** The sender of a request, with what it may do. */
export interface Caller {
  /** Id and name of the key; null on a server that asks for no key. */
  readonly key: Pick<ApiKey, 'id' | 'name'> | null;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
}

/** The caller of every request to a server that asks for no key. */
const ANONYMOUS: Caller = { key: null, tenant: DEFAULT_TENANT, scopes: ['admin'], limits: NO_LIMITS };

/**
 * How long an answer of Redis about a key is cached: revoking a key takes effect within this time.
 */
const CACHE_MS = 1000;
/** Shortest time between two writes of a key's last use. */
const LAST_USE_INTERVAL_MS = 60_000;
const MAX_CACHED_KEYS = 10_000;

interface CachedKey {
  readonly key: ApiKey;
  readonly caller: Caller;
  /** On the clock of `performance.now()`. */
  readonly until: number;
}

/** Whether only this machine can reach a server that listens on `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** What the authenticator reads of a request. */
export interface Credentials {
  readonly headers: IncomingHttpHeaders;
  /** The host that the request names, without its port. */
  readonly hostname: string;
}

/** Headers of proxies, beside `X-Forwarded-*`. */
const PROXY_HEADERS = new Set(['forwarded', 'via', 'x-real-ip']);

/** The header that a proxy added; undefined: none did. */
export function proxyHeader(headers: IncomingHttpHeaders): string | undefined {
  for (const name in headers) if (PROXY_HEADERS.has(name) || name.startsWith('x-forwarded-')) return name;
  return undefined;
}

/**
 * Whether the request comes from this machine, on a server that only this machine can reach.
 * Another host name means a proxy, or a page that resolves its own name to this machine (DNS
 * rebinding). A proxy on this machine forwards requests of other machines.
 */
function isOfThisMachine({ headers, hostname }: Credentials): boolean {
  return isLoopback(withoutBrackets(hostname)) && proxyHeader(headers) === undefined;
}

/** Finds the caller of a request by its `Authorization` header. */
export class Authenticator {
  readonly #keys: ApiKeys;
  readonly #setting: Config['keys'];
  readonly #isExposed: boolean;
  readonly #blobs: BlobStore;
  /** By secret. */
  readonly #cache = new Map<string, CachedKey>();
  /** When the last use of a key was written, by id. */
  readonly #lastUseWritten = new Map<string, number>();
  /** Stays true once it is: emptying Redis must not open the server. */
  #hasKeys = false;
  /** Whether storage holds that there are keys. */
  #isRemembered = false;
  /** When Redis was last asked whether there are keys. */
  #checkedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param config `host` and `trustProxy` say whether other machines can reach the server
   * @param blobs remembers that there were keys, should Redis lose them
   */
  constructor(store: SharedStore, config: Pick<Config, 'host' | 'keys' | 'trustProxy'>, blobs: BlobStore) {
    this.#blobs = blobs;
    this.#keys = new ApiKeys(store.redis, store.keys);
    this.#setting = config.keys;
    // Other machines come in through a trusted proxy, whatever host they name.
    this.#isExposed = !isLoopback(config.host) || config.trustProxy.length > 0;
  }

  /**
   * Why the server must not start: without a key it would admit everybody or nobody (`none`), or
   * it had keys and Redis has lost them (`lost`). null: it may start.
   */
  async lacksKeys(): Promise<'none' | 'lost' | null> {
    if (this.#setting === 'off') return null;
    if (await this.#keys.hasAny()) {
      await this.#remember();
      return null;
    }
    if (await hadKeys(this.#blobs)) return 'lost';
    return this.#setting === 'auto' && !this.#isExposed ? null : 'none';
  }

  /**
   * The caller from the cache; null: call `authenticate`. It is synchronous, because most requests
   * end here and a promise would be a large part of their cost.
   */
  cached(request: Credentials): Caller | null {
    if (this.#setting === 'off') return ANONYMOUS;
    const { authorization } = request.headers;
    const now = performance.now();
    if (authorization === undefined) {
      const isOpen = !this.#alwaysAsks() && now - this.#checkedAt < CACHE_MS;
      return isOpen && isOfThisMachine(request) ? ANONYMOUS : null;
    }
    if (!this.#alwaysAsks()) return null; // keys may exist since the last check
    const found = this.#cache.get(parseSecret(authorization) ?? '');
    if (!found || found.until <= now || !isValid(found.key)) return null;
    this.#recordUse(found.key.id);
    return found.caller;
  }

  /**
   * The caller, from the cache or from Redis.
   * @throws ProblemError `unauthorized` when a key is required and the request has no valid one
   */
  async authenticate(request: Credentials): Promise<Caller> {
    if (this.#setting === 'off') return ANONYMOUS;
    const { authorization } = request.headers;
    if (!(await this.#asksForKey(authorization !== undefined))) {
      if (isOfThisMachine(request)) return ANONYMOUS;
      const header = proxyHeader(request.headers);
      throw new ProblemError(
        'unauthorized',
        'This service has no keys, so it serves only this machine; ' +
          (header === undefined
            ? `the request is for the host "${request.hostname.slice(0, 80)}". `
            : `the request came through a proxy (it has the header ${header.slice(0, 80)}). `) +
          'Create a key (findery keys create), or set FINDERY_KEYS=off to allow everything to everybody.',
      );
    }
    if (authorization === undefined)
      throw new ProblemError(
        'unauthorized',
        'This service requires a key: send it as "Authorization: Bearer fdy_...".',
      );
    const secret = parseSecret(authorization);
    if (secret === undefined)
      throw new ProblemError(
        'unauthorized',
        'The Authorization header is not understood; it takes "Bearer fdy_..." with a key of this service.',
      );
    const found = await this.#find(secret);
    if (!found)
      throw new ProblemError(
        'unauthorized',
        'This key is not known here. Check that it was copied in full, or ask for a new one.',
      );
    const { key, caller } = found;
    if (key.revokedAt !== null)
      throw new ProblemError('unauthorized', `The key ${key.id} was revoked at ${key.revokedAt}.`);
    if (!isValid(key))
      throw new ProblemError(
        'unauthorized',
        `The key ${key.id} expired at ${key.expiresAt}; ask for a new one.`,
      );
    this.#recordUse(key.id);
    return caller;
  }

  /**
   * @param hasKey whether the request has a key: then keys probably exist, and the cache is skipped
   */
  async #asksForKey(hasKey: boolean): Promise<boolean> {
    if (this.#alwaysAsks()) return true;
    const now = performance.now();
    if (!hasKey && now - this.#checkedAt < CACHE_MS) return false;
    this.#hasKeys = await this.#keys.hasAny();
    this.#checkedAt = now;
    if (this.#hasKeys) void this.#remember();
    return this.#hasKeys;
  }

  #alwaysAsks(): boolean {
    return this.#hasKeys || this.#isExposed || this.#setting === 'required';
  }

  /** Requests do not fail with storage; the next look-up of a key tries again. */
  async #remember(): Promise<void> {
    if (this.#isRemembered) return;
    this.#isRemembered = true;
    await rememberKeys(this.#blobs).catch(() => {
      this.#isRemembered = false;
    });
  }

  async #find(secret: string): Promise<CachedKey | null> {
    const now = performance.now();
    const cached = this.#cache.get(secret);
    if (cached && cached.until > now) return cached;
    const key = await this.#keys.find(secret);
    if (!key) {
      this.#cache.delete(secret);
      return null;
    }
    void this.#remember();
    if (this.#cache.size >= MAX_CACHED_KEYS) this.#cache.clear();
    const { tenant, scopes, limits } = key;
    const found = { key, caller: { key, tenant, scopes, limits }, until: now + CACHE_MS };
    this.#cache.set(secret, found);
    return found;
  }

  #recordUse(id: string): void {
    const now = performance.now();
    if (now - (this.#lastUseWritten.get(id) ?? Number.NEGATIVE_INFINITY) < LAST_USE_INTERVAL_MS) return;
    this.#lastUseWritten.set(id, now);
    // The request does not wait for it, and does not fail with it.
    this.#keys.recordUse(id, new Date().toISOString()).catch(() => this.#lastUseWritten.delete(id));
  }
}

function parseSecret(authorization: string): string | undefined {
  return /^Bearer +(fdy_[A-Za-z0-9_-]{43}) *$/i.exec(authorization)?.[1];
}

function isValid({ revokedAt, expiresAt }: ApiKey): boolean {
  return revokedAt === null && (expiresAt === null || Date.parse(expiresAt) > Date.now());
}

/** A host name without the brackets of an IPv6 address. */
function withoutBrackets(hostname: string): string {
  return hostname.startsWith('[') && hostname.endsWith(']') ? hostname.slice(1, -1) : hostname;
}
