import type { Config } from '../config/config.ts';
import { ProblemError } from '../contract/problem.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { SharedStore } from '../store/store.ts';
import { type ApiKey, ApiKeys, type Limits, NO_LIMITS, type Scope } from '../tenancy/api-keys.ts';

/** Who sent a request. */
export interface Caller {
  /** Id and name of the key; null: the server asks for none. */
  readonly key: Pick<ApiKey, 'id' | 'name'> | null;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly limits: Limits;
}

const ANYBODY: Caller = { key: null, tenant: DEFAULT_TENANT, scopes: ['admin'], limits: NO_LIMITS };

/** Milliseconds for which what Redis said of a key counts: revoking one takes effect within this time. */
const FRESH = 1000;
/** Milliseconds between notes of a key's use. */
const NOTE_EVERY = 60_000;
/** Keys that are remembered at most. */
const MOST_REMEMBERED = 10_000;

/** Whether only this machine can reach a server that listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Tells by a request's key who sent it. */
export class Authenticator {
  readonly #keys: ApiKeys;
  readonly #setting: Config['keys'];
  readonly #isExposed: boolean;
  readonly #known = new Map<
    string,
    { readonly key: ApiKey; readonly caller: Caller; readonly until: number }
  >();
  readonly #noted = new Map<string, number>();
  /** Once true, for good: a Redis that was emptied opens no door. */
  #hasKeys = false;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(store: SharedStore, { host, keys, trustProxy }: Pick<Config, 'host' | 'keys' | 'trustProxy'>) {
    this.#keys = new ApiKeys(store.redis, store.keys);
    this.#setting = keys;
    // A proxy that is told of lets others in, whatever name they ask for.
    this.#isExposed = !isLoopback(host) || trustProxy.length > 0;
  }

  /** Whether this server has to be refused: it would let in whoever reaches it, or nobody at all. */
  async lacksKeys(): Promise<boolean> {
    if (this.#setting === 'off' || (this.#setting === 'auto' && !this.#isExposed)) return false;
    return !(await this.#keys.any());
  }

  /**
   * Who sends a request, where that is known without asking Redis (it was asked within the last second); null: `identify` has to say.
   * Most requests come here, and are spared a promise.
   */
  recall(header: string | undefined, hostname: string): Caller | null {
    if (this.#setting === 'off') return ANYBODY;
    const now = performance.now();
    if (header === undefined)
      return !this.#asksAnyway() && now - this.#askedAt < FRESH && isLoopback(nameOf(hostname))
        ? ANYBODY
        : null;
    if (!this.#asksAnyway()) return null; // there may be keys since the last look
    const known = this.#known.get(secretIn(header) ?? '');
    if (!known || known.until <= now || !counts(known.key)) return null;
    this.#note(known.key.id);
    return known.caller;
  }

  /**
   * Who sends a request with this `Authorization` header.
   * @param hostname that the request is meant for, without its port
   * @throws ProblemError `unauthorized` when a key is asked for and there is none that counts
   */
  async identify(header: string | undefined, hostname: string): Promise<Caller> {
    if (this.#setting === 'off') return ANYBODY;
    if (!(await this.#asksForKeys(header !== undefined))) {
      // A proxy that lets others in, or a page whose name was bent to this machine (DNS rebinding).
      if (!isLoopback(nameOf(hostname)))
        throw new ProblemError(
          'unauthorized',
          `This service has no keys, so it serves this machine alone, and the request is for "${hostname.slice(0, 80)}". Make a key (findery keys create), or set FINDERY_KEYS=off where whoever comes that way may do everything.`,
        );
      return ANYBODY;
    }
    if (header === undefined)
      throw new ProblemError(
        'unauthorized',
        'This service asks for a key: send it as "Authorization: Bearer fdy_...".',
      );
    const secret = secretIn(header);
    if (secret === undefined)
      throw new ProblemError(
        'unauthorized',
        'The header Authorization is not understood; it takes "Bearer fdy_..." with a key of this service.',
      );
    const found = await this.#find(secret);
    if (!found)
      throw new ProblemError(
        'unauthorized',
        'This key is not known here. Was it revoked, or cut when it was copied?',
      );
    const { key, caller } = found;
    if (key.revokedAt !== null)
      throw new ProblemError('unauthorized', `The key ${key.id} was revoked at ${key.revokedAt}.`);
    if (!counts(key))
      throw new ProblemError(
        'unauthorized',
        `The key ${key.id} ended at ${key.expiresAt}; ask for a new one.`,
      );
    this.#note(key.id);
    return caller;
  }

  /** Whether a key in this header was found here lately; it may have ended since. Also where none is looked for. */
  remembers(header: string | undefined): boolean {
    return this.#setting === 'off' || header === undefined || this.#known.has(secretIn(header) ?? '');
  }

  /** @param isOffered whether a key came along: then there may well be some since the last look */
  async #asksForKeys(isOffered: boolean): Promise<boolean> {
    if (this.#asksAnyway()) return true;
    const now = performance.now();
    if (!isOffered && now - this.#askedAt < FRESH) return false;
    this.#hasKeys = await this.#keys.any();
    this.#askedAt = now;
    return this.#hasKeys;
  }

  #asksAnyway(): boolean {
    return this.#hasKeys || this.#isExposed || this.#setting === 'required';
  }

  async #find(secret: string): Promise<{ readonly key: ApiKey; readonly caller: Caller } | null> {
    const now = performance.now();
    const known = this.#known.get(secret);
    if (known && known.until > now) return known;
    const key = await this.#keys.find(secret);
    if (!key) {
      this.#known.delete(secret);
      return null;
    }
    if (this.#known.size >= MOST_REMEMBERED) this.#known.clear();
    const { tenant, scopes, limits } = key;
    const found = { key, caller: { key, tenant, scopes, limits }, until: now + FRESH };
    this.#known.set(secret, found);
    return found;
  }

  #note(id: string): void {
    const now = performance.now();
    if (now - (this.#noted.get(id) ?? Number.NEGATIVE_INFINITY) < NOTE_EVERY) return;
    this.#noted.set(id, now);
    // Of no weight for the request.
    this.#keys.touch(id, new Date().toISOString()).catch(() => this.#noted.delete(id));
  }
}

function secretIn(header: string): string | undefined {
  return /^Bearer +(fdy_[A-Za-z0-9_-]{43}) *$/i.exec(header)?.[1];
}

/** Whether it was neither revoked nor has ended. */
function counts({ revokedAt, expiresAt }: ApiKey): boolean {
  return revokedAt === null && (expiresAt === null || Date.parse(expiresAt) > Date.now());
}

/** A host's name without the brackets of an IPv6 address. */
function nameOf(hostname: string): string {
  return hostname.startsWith('[') && hostname.endsWith(']') ? hostname.slice(1, -1) : hostname;
}
