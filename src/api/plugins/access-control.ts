import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { ProblemError } from '../../contract/problem.ts';
import { scopeStore, type TenantStore } from '../../store/store.ts';
import type { Scope } from '../../tenancy/api-keys.ts';
import { Authenticator, type Caller } from '../auth/authenticator.ts';
import { FailedAuthenticationLimiter } from '../auth/failed-authentication.ts';
import { KeyWatch } from '../auth/key-watch.ts';
import { hasScope, requiredScopes } from '../auth/scopes.ts';
import { isRedisFull } from './problems.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Ends answers that stay open when their key stops being valid. */
    keyWatch: KeyWatch;
  }
  interface FastifyRequest {
    /** The authenticated caller; null on routes that are open to everybody. */
    caller: Caller | null;
    /**
     * The store, limited to the caller's tenant. Routes have no other way to records.
     * @throws Error on routes that are open to everybody
     */
    readonly store: TenantStore;
  }
}

const WINDOW_SECONDS = 60;

/**
 * Authenticates and authorizes every request before its body is read: key, scope, requests per
 * minute. Adds `request.caller` and `request.store`.
 */
export const accessControl = fp(async (app: FastifyInstance) => {
  const { store, config, blobs } = app.services;
  const authenticator = new Authenticator(store, config, blobs);
  const tenantStores = new WeakMap<Caller, TenantStore>();

  /** By the config of a route, which has one method. */
  const scopesOfRoutes = new WeakMap<object, readonly Scope[]>();

  app.decorate('keyWatch', new KeyWatch(authenticator));
  app.decorateRequest('caller', null);
  app.decorateRequest('store', {
    getter(this: FastifyRequest) {
      const { caller } = this;
      if (!caller) throw new Error(`${this.url} is open to everybody and has no tenant.`);
      const tenantStore = tenantStores.get(caller) ?? scopeStore(store, caller);
      tenantStores.set(caller, tenantStore);
      return tenantStore;
    },
  });

  await app.register(rateLimit, {
    global: false,
    redis: store.redis,
    nameSpace: store.keys?.requestCountPrefix(), // absent when only the OpenAPI document is built
    timeWindow: WINDOW_SECONDS * 1000,
    keyGenerator: ({ caller }) => caller?.key?.id ?? '',
    max: ({ caller }) => caller?.limits.requestsPerMinute ?? 0,
  });
  const countRequest = app.createRateLimit();
  const failedAuthentication = new FailedAuthenticationLimiter(app, config.failedKeys);

  app.addHook('onRequest', (request, reply, done) => {
    const { url, config } = request.routeOptions;
    if (url === undefined) return done();
    const known = scopesOfRoutes.get(config);
    const scopes = known ?? requiredScopes(request.method, url, config);
    if (!known) scopesOfRoutes.set(config, scopes);
    if (scopes.length === 0) return done();
    const cached = authenticator.cached(request);
    // A cached caller without a rate limit needs no promise.
    if (
      cached &&
      cached.limits.requestsPerMinute === null &&
      scopes.some((scope) => hasScope(cached, scope))
    ) {
      request.caller = cached;
      return done();
    }
    admit(request, reply, scopes, cached).then(() => done(), done);
  });

  async function admit(
    request: FastifyRequest,
    reply: FastifyReply,
    scopes: readonly Scope[],
    cached: Caller | null,
  ): Promise<void> {
    const caller = cached ?? (await authenticate(request, reply));
    request.caller = caller;
    await limitRequests(request, reply);
    if (scopes.some((scope) => hasScope(caller, scope))) return;
    const [scope] = scopes;
    reply.header('www-authenticate', `Bearer realm="findery", error="insufficient_scope", scope="${scope}"`);
    throw new ProblemError(
      'forbidden',
      `${request.method} ${request.routeOptions.url} requires a key with the scope ${scope}; ` +
        `this key has ${caller.scopes.join(', ')}.`,
    );
  }

  async function authenticate(request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    const { authorization } = request.headers;
    try {
      return await authenticator.authenticate(request);
    } catch (error) {
      if (error instanceof ProblemError) {
        // After the look-up: a valid key is never refused for the wrong keys of its address.
        if (authorization !== undefined) await failedAuthentication.record(request);
        const reason = authorization === undefined ? '' : ', error="invalid_token"';
        reply.header('www-authenticate', `Bearer realm="findery"${reason}`);
      }
      throw error;
    }
  }

  /** Counts the request; its headers follow draft-ietf-httpapi-ratelimit-headers. */
  async function limitRequests(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const max = request.caller?.limits.requestsPerMinute ?? null;
    if (max === null) return;
    const counted = await countRequest(request).catch((error: unknown) => {
      // What makes room has to work in a full Redis, which refuses everything else itself.
      if (error instanceof Error && isRedisFull(error)) return null;
      throw error;
    });
    if (counted === null || counted.isAllowed) return;
    const { remaining, ttlInSeconds, isExceeded } = counted;
    reply
      .header('ratelimit-policy', `"requests";q=${max};w=${WINDOW_SECONDS}`)
      .header('ratelimit', `"requests";r=${remaining};t=${ttlInSeconds}`);
    if (!isExceeded) return;
    throw new ProblemError(
      'rate-limited',
      `This key may send ${max} requests a minute and has sent them. ` +
        `The next minute begins in ${ttlInSeconds} s.`,
      undefined,
      ttlInSeconds,
    );
  }
});
