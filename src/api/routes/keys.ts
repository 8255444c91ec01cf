import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { Ref } from '../../contract/schemas/common.ts';
import {
  DEFAULT_REQUESTS_PER_MINUTE,
  ForceQuery,
  Key,
  KeyPage,
  KeyQuery,
  KeyRequest,
  NewKey,
  RotateKeyRequest,
} from '../../contract/schemas/key.ts';
import { DEFAULT_SCOPES } from '../../contract/scopes.ts';
import { sha256Of } from '../../sha256.ts';
import { rememberKeys } from '../../storage/keys-marker.ts';
import {
  type ApiKey,
  ApiKeys,
  type CreatedKey,
  keyState,
  type Limits,
  NO_LIMITS,
} from '../../tenancy/api-keys.ts';
import type { Caller } from '../auth/authenticator.ts';
import { checkGrant, checkManages } from '../auth/key-grants.ts';
import { hasScope } from '../auth/scopes.ts';
import { emptyResponse, IdInPath, jsonResponse, responses } from '../http/route-schemas.ts';

const tags = ['keys'];

/** API keys: of its tenant for `tenant-admin`, of all tenants for `admin`. */
export const keys: FastifyPluginAsyncTypebox = async (app) => {
  const { store, blobs, config } = app.services;
  const apiKeys = new ApiKeys(store.redis, store.keys);

  app.post(
    '/v1/keys',
    {
      config: { hasSecretAnswer: true },
      schema: {
        operationId: 'createKey',
        summary: 'Create a key; only this response has its secret',
        tags,
        body: Type.Union([Ref(KeyRequest), Type.Null()]),
        response: responses({ 201: jsonResponse(NewKey, 'created', 'location') }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const now = new Date();
      const newKey = withDefaults((request.body as KeyRequest | null) ?? {}, caller);
      checkGrant(caller, newKey);
      const isOpen = caller.key === null && config.keys !== 'off';
      if (isOpen && !newKey.scopes.includes('admin'))
        throw new ProblemError(
          'conflict',
          'With its first key, the service asks every request for one. Give the first key the scope admin, ' +
            'so that it can create others.',
        );
      const id = await reserveKeyId(request, reply, apiKeys);
      const made = await apiKeys.create(newKey, now, id).catch(refuse);
      await rememberKeys(blobs).catch((error: unknown) =>
        request.log.warn({ err: error }, 'storage could not note that the service has keys'),
      );
      return sendNewKey(reply, made, null, now);
    },
  );

  app.get(
    '/v1/keys',
    {
      schema: {
        operationId: 'listKeys',
        summary: 'List keys without their secrets, newest first',
        tags,
        querystring: KeyQuery,
        response: responses({ 200: Ref(KeyPage) }),
      },
    },
    async (request) => {
      const { limit = 20, after, tenant } = request.query;
      const now = new Date();
      const visible = (await apiKeys.list())
        .filter((key) => isVisible(callerOf(request), key) && (tenant === undefined || key.tenant === tenant))
        .reverse();
      const start = after === undefined ? 0 : visible.findIndex(({ id }) => id === after) + 1;
      const data = visible.slice(start, start + limit);
      const hasMore = start + limit < visible.length;
      return {
        data: data.map((key) => viewKey(key, now)),
        hasMore,
        nextAfter: hasMore ? data[data.length - 1].id : null,
      };
    },
  );

  app.get(
    '/v1/keys/:id',
    {
      schema: {
        operationId: 'getKey',
        summary: 'Get a key, without its secret',
        tags,
        params: IdInPath,
        response: responses({ 200: jsonResponse(Key, 'the key') }),
      },
    },
    async (request) => {
      const { id } = request.params;
      const found = (await apiKeys.list()).find((key) => key.id === id && isVisible(callerOf(request), key));
      if (!found) throw noSuchKey(id);
      return viewKey(found, new Date());
    },
  );

  app.post(
    '/v1/keys/:id/rotate',
    {
      config: { hasSecretAnswer: true },
      schema: {
        operationId: 'rotateKey',
        summary: 'Replace a key by a new one with the same rights; the old one stays valid for a while',
        tags,
        params: IdInPath,
        querystring: ForceQuery,
        body: Type.Union([Ref(RotateKeyRequest), Type.Null()]),
        response: responses({ 201: jsonResponse(NewKey, 'the new key', 'location') }),
      },
    },
    async (request, reply) => {
      const { scopes, graceSeconds = 86_400 } = (request.body as RotateKeyRequest | null) ?? {};
      const now = new Date();
      const { id } = request.params;
      const old = await find(request, id);
      checkManages(callerOf(request), old);
      checkGrant(callerOf(request), { ...old, scopes: scopes ?? old.scopes });
      const newId = await reserveKeyId(request, reply, apiKeys);
      if (scopes && !scopes.includes('admin')) await checkLastAdmin(old, request.query.force, now);
      const oldEnd = new Date(now.getTime() + graceSeconds * 1000).toISOString();
      const rotated = await apiKeys.rotate(id, { scopes, oldEnd }, now, newId).catch(refuse);
      if (!rotated)
        throw new ProblemError('conflict', `The key ${id} is not valid any more; create another key.`);
      return sendNewKey(reply, rotated, { id, validUntil: rotated.oldEnd }, now);
    },
  );

  app.delete(
    '/v1/keys/:id',
    {
      schema: {
        operationId: 'revokeKey',
        summary: 'Revoke a key; it is refused within a second, and stays in the list',
        tags,
        params: IdInPath,
        querystring: ForceQuery,
        response: responses({ 204: emptyResponse('revoked') }),
      },
    },
    async (request, reply) => {
      const now = new Date();
      const key = await find(request, request.params.id);
      checkManages(callerOf(request), key);
      await checkLastAdmin(key, request.query.force, now);
      await apiKeys.update(key.id, { revokedAt: now.toISOString() });
      return reply.code(204).send(null);
    },
  );

  async function find(request: FastifyRequest, id: string): Promise<ApiKey> {
    const key = await apiKeys.get(id);
    if (!key || !isVisible(callerOf(request), key)) throw noSuchKey(id);
    return key;
  }

  /** @throws ProblemError `conflict` if no valid key with the scope `admin` would be left */
  async function checkLastAdmin(key: ApiKey, force = false, now: Date): Promise<void> {
    const isAdmin = (one: ApiKey) => one.scopes.includes('admin') && keyState(one, now) === 'valid';
    if (force || !isAdmin(key)) return;
    if ((await apiKeys.list()).some((other) => other.id !== key.id && isAdmin(other))) return;
    throw new ProblemError(
      'conflict',
      `${key.id} is the last valid key with the scope admin. Create another one first, or add ?force=true: ` +
        'then only `findery keys` on the machine of the service can create keys for all tenants.',
    );
  }
};

/** The caller, which every route under /v1 has. */
function callerOf({ caller }: FastifyRequest): Caller {
  if (!caller) throw new Error('Keys are not managed without a caller.');
  return caller;
}

function isVisible(caller: Caller, { tenant }: ApiKey): boolean {
  return hasScope(caller, 'admin') || tenant === caller.tenant;
}

/** Limits that are left out are the caller's own: a new key does not widen those of the tenant. */
function withDefaults(body: KeyRequest, caller: Caller) {
  const { tenant = caller.tenant, name = tenant, scopes, expiresAt = null } = body;
  const own = hasScope(caller, 'admin') ? null : caller.limits;
  const ownRequests = own?.requestsPerMinute ?? DEFAULT_REQUESTS_PER_MINUTE;
  const limits: Limits = {
    ...NO_LIMITS,
    ...own,
    requestsPerMinute: Math.min(ownRequests, DEFAULT_REQUESTS_PER_MINUTE),
    ...body.limits,
  };
  return { name, tenant, scopes: scopes ?? DEFAULT_SCOPES, limits, expiresAt: toUtc(expiresAt) };
}

/** The stored form of a time. A leap second stays as it is, and is refused as no date. */
function toUtc(time: string | null): string | null {
  return time === null || Number.isNaN(Date.parse(time)) ? time : new Date(time).toISOString();
}

/**
 * The id of the key that a request makes: always the same for one idempotency key. The secret is
 * not kept, so a repeated request cannot be answered again.
 * @throws ProblemError `conflict` if an earlier request with the idempotency key has made the key
 */
async function reserveKeyId(
  { idempotency }: FastifyRequest,
  reply: FastifyReply,
  apiKeys: ApiKeys,
): Promise<string | undefined> {
  if (!idempotency) return undefined;
  const id = `key_${sha256Of(idempotency.ulid).slice(0, 12)}`;
  if (idempotency.isNew) return id;
  const wasAnswered = idempotency.running === null;
  if (!wasAnswered && (await apiKeys.get(id)) === null) return id;
  reply.removeHeader('idempotent-replayed');
  throw new ProblemError(
    'conflict',
    `An earlier request with this idempotency key has made the key ${id}. Its secret was in that answer ` +
      `and is stored nowhere. If the answer was lost, POST /v1/keys/${id}/rotate gives a new secret.`,
  );
}

function sendNewKey(
  reply: FastifyReply,
  { secret, key }: CreatedKey,
  replaces: { readonly id: string; readonly validUntil: string } | null,
  now: Date,
) {
  reply.code(201).header('location', `/v1/keys/${key.id}`).header('cache-control', 'no-store');
  return {
    object: 'key' as const,
    ...key,
    scopes: [...key.scopes],
    state: keyState(key, now),
    secret,
    replaces,
  };
}

function viewKey(key: ApiKey & { readonly lastUsedAt: string | null }, now: Date): Key {
  const { scopes, ...others } = key;
  return { object: 'key', ...others, scopes: [...scopes], state: keyState(key, now) };
}

function noSuchKey(id: string): ProblemError {
  return new ProblemError('not-found', `There is no key "${id}"; GET /v1/keys lists the keys.`);
}

/** Errors of `ApiKeys` about what was asked for. */
function refuse(error: unknown): never {
  if (!(error instanceof RangeError)) throw error;
  throw new ProblemError('not-possible', `This key can't be made: ${error.message}.`);
}
