import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError } from '../../contract/problem.ts';
import { scopeStore, type TenantStore } from '../../store/store.ts';
import type { Scope } from '../../tenancy/api-keys.ts';
import { Authenticator, type Caller } from '../authenticator.ts';
import { FailedKeys } from '../failed-keys.ts';
import { scopeOf } from '../scopes.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sent it. Null on addresses that are open to everybody. */
    caller: Caller | null;
    /**
     * The store as the caller's tenant sees it: the only way to records that a route has.
     * @throws Error on addresses that are open to everybody
     */
    readonly store: TenantStore;
  }
}

const MINUTE = 60;

/** Who may do what: keys, their scopes, their requests in a minute. Whatever a route asks of the store, it asks as its tenant. */
export const access = fp(async (app: FastifyInstance) => {
  const { store } = app.services;
  const gatekeeper = new Authenticator(store, app.services.config);
  const scoped = new WeakMap<Caller, TenantStore>();

  app.decorateRequest('caller', null);
  app.decorateRequest('store', {
    getter(this: FastifyRequest) {
      const { caller } = this;
      if (!caller) throw new Error(`${this.url} is open to everybody and has no tenant.`);
      const own = scoped.get(caller) ?? scopeStore(store, caller);
      scoped.set(caller, own);
      return own;
    },
  });

  await app.register(rateLimit, {
    global: false,
    redis: store.redis,
    nameSpace: store.keys?.requests(), // there is no store where only the contract is asked for
    timeWindow: MINUTE * 1000,
    keyGenerator: ({ caller }) => caller?.key?.id ?? '',
    max: ({ caller }) => caller?.limits.requestsPerMinute ?? 0,
  });
  const count = app.createRateLimit();
  const failed = new FailedKeys(app, app.services.config.failedKeys);

  app.addHook('onRequest', (request, reply, done) => {
    const { url, config } = request.routeOptions;
    const scope = url === undefined ? null : scopeOf(request.method, url, config);
    if (scope === null) return done();
    const known = gatekeeper.recall(request.headers.authorization, request.hostname);
    // Who is known and has no limit goes on at once.
    if (known && known.limits.requestsPerMinute === null && allows(known, scope)) {
      request.caller = known;
      return done();
    }
    admit(request, reply, scope, known).then(() => done(), done);
  });

  async function admit(
    request: FastifyRequest,
    reply: FastifyReply,
    scope: Scope,
    known: Caller | null,
  ): Promise<void> {
    const { authorization } = request.headers;
    if (!known && !gatekeeper.remembers(authorization)) await failed.check(request);
    request.caller =
      known ??
      (await gatekeeper.identify(authorization, request.hostname).catch(async (error: unknown) => {
        if (error instanceof ProblemError) {
          if (authorization !== undefined) await failed.note(request);
          const given = authorization === undefined ? '' : ', error="invalid_token"';
          reply.header('www-authenticate', `Bearer realm="findery"${given}`);
        }
        throw error;
      }));
    await limitRequests(request, reply);
    if (allows(request.caller, scope)) return;
    reply.header('www-authenticate', `Bearer realm="findery", error="insufficient_scope", scope="${scope}"`);
    throw new ProblemError(
      'forbidden',
      `${request.method} ${request.routeOptions.url} asks for a key with the scope ${scope}; this one has ${request.caller.scopes.join(', ')}.`,
    );
  }

  /** Headers as in draft-ietf-httpapi-ratelimit-headers: what a minute has, what is left, in how many seconds the next one begins. */
  async function limitRequests(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const most = request.caller?.limits.requestsPerMinute ?? null;
    if (most === null) return;
    const counted = await count(request);
    if (counted.isAllowed) return;
    const { remaining, ttlInSeconds, isExceeded } = counted;
    reply
      .header('ratelimit-policy', `"requests";q=${most};w=${MINUTE}`)
      .header('ratelimit', `"requests";r=${remaining};t=${ttlInSeconds}`);
    if (!isExceeded) return;
    throw new ProblemError(
      'rate-limited',
      `This key may send ${most} requests a minute, and has; the next minute begins in ${ttlInSeconds} s.`,
      undefined,
      ttlInSeconds,
    );
  }
});

function allows({ scopes }: Caller, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes('admin');
}
