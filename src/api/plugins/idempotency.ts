import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { type TObject, Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import {
  IdempotencyKeys,
  type IdempotentRequest,
  type IdempotentStart,
} from '../../tenancy/idempotency-keys.ts';
import { requiredScopes } from '../auth/scopes.ts';
import { digestOf, fingerprintOf } from '../http/idempotency.ts';
import { holdSignal } from '../http/prefer.ts';
import { IdempotencyHeader } from '../http/route-schemas.ts';
import { isRedisFull } from './problems.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a POST with an `Idempotency-Key` that is carried out; else null. */
    idempotency: {
      readonly ulid: string;
      readonly isNew: boolean;
      /** Null: an answer is made again, and nothing is to be remembered. */
      readonly running: IdempotentRequest | null;
      /** Whether the route creates a record under an id of `reserveId`. */
      hasReserved: boolean;
    } | null;
  }
  interface FastifyContextConfig {
    /** A 202 of the route is not the answer: a repeated request waits for the same work. */
    waitsForWork?: boolean;
    /** The answer has a secret that must not be kept; a repeated request reaches the route. */
    hasSecretAnswer?: boolean;
    /**
     * The route makes room and repeats without harm. In a full Redis, which takes no new keys, it
     * is carried out as if it had none.
     */
    makesRoom?: boolean;
  }
}

/** Headers that belong to an answer; the others belong to one exchange (`X-Request-Id`, limits). */
const ANSWER_HEADERS = ['content-type', 'location', 'retry-after', 'preference-applied'] as const;
/** Largest body that is kept in Redis if the answer can be made again from its record. */
const MAX_KEPT_CHARACTERS = 32_768;
/** How long a request waits for another one with its key. */
const MAX_WAIT_MS = 60_000;
const RETRY_AFTER_SECONDS = 1;

/** An answer as it is kept. */
interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string | null;
}

/**
 * Idempotency of every POST, as Stripe has it: the first answer to an `Idempotency-Key` is repeated
 * for a day, before anything of the request is resolved. Only successful answers are kept, so a
 * request that was refused or failed can be sent again with its key.
 */
export const idempotency = fp(async (app: FastifyInstance) => {
  app.decorateRequest('idempotency', null);
  app.addHook('onRoute', (route) => {
    if (isCovered(route)) declareKey(route);
  });

  app.addHook('preHandler', (request, reply, done) => {
    const key = request.headers['idempotency-key'];
    // A route that is open to everybody has no caller, and no tenant to remember keys for.
    if (request.method !== 'POST' || typeof key !== 'string' || !request.caller) return done();
    begin(request, reply, key).then((isAnswered) => {
      if (!isAnswered) done();
    }, done);
  });

  app.addHook('onSend', (request, reply, payload, done) => {
    const running = request.idempotency?.running;
    if (!running) return done();
    running.end(answerToKeep(request, reply, payload)).then(
      () => done(),
      (error: unknown) => {
        // The next request takes over when the lease has ended, and finds the record.
        request.log.warn({ err: error }, 'answer of an idempotency key could not be kept');
        done();
      },
    );
  });
});

function isCovered({ method, url, config }: RouteOptions): boolean {
  return [method].flat().includes('POST') && requiredScopes('POST', url, config).length > 0;
}

/** Adds the request header, and the response header of repeated answers, to the contract. */
function declareKey(route: RouteOptions): void {
  const { schema = {} } = route;
  const headers = (schema.headers as TObject | undefined)?.properties ?? {};
  const replayed = {
    'idempotent-replayed': Type.Literal('true', {
      description: 'the answer repeats that of an earlier request with the same `Idempotency-Key`',
    }),
  };
  const responses = Object.entries((schema.response ?? {}) as Record<string, { headers?: object }>).map(
    ([status, response]) =>
      /^2/.test(status)
        ? [status, { ...response, headers: { ...response.headers, ...replayed } }]
        : [status, response],
  );
  route.schema = {
    ...schema,
    headers: Type.Object({ ...headers, ...IdempotencyHeader.properties }),
    response: Object.fromEntries(responses),
  };
}

/**
 * Looks the key up.
 * @returns whether the request is answered with the first answer
 * @throws ProblemError `idempotency-mismatch`; `conflict` if the first request does not end
 */
async function begin(request: FastifyRequest, reply: FastifyReply, key: string): Promise<boolean> {
  const started = await waitForFirst(request, reply, key).catch((error: unknown) => {
    if (request.routeOptions.config.makesRoom && error instanceof Error && isRedisFull(error)) return null;
    throw error;
  });
  if (started === null) return false;
  switch (started.state) {
    case 'begun': {
      const { ulid, isNew } = started.request;
      request.idempotency = { ulid, isNew, running: started.request, hasReserved: false };
      return false;
    }
    case 'again':
      request.idempotency = { ulid: started.ulid, isNew: false, running: null, hasReserved: false };
      reply.header('idempotent-replayed', 'true');
      return false;
    case 'answered': {
      const { status, headers, body } = JSON.parse(started.answer) as Answer;
      reply.code(status).headers(headers).header('idempotent-replayed', 'true').send(body);
      return true;
    }
    case 'mismatch':
      throw mismatch(key, started.answer);
    default:
      throw new ProblemError(
        'conflict',
        `A request with the idempotency key "${key.slice(0, 80)}" is still being carried out. ` +
          'Send this one again in a moment.',
        undefined,
        RETRY_AFTER_SECONDS,
      );
  }
}

async function waitForFirst(
  request: FastifyRequest,
  reply: FastifyReply,
  key: string,
): Promise<IdempotentStart> {
  const { store, body } = request;
  const keys = new IdempotencyKeys(store);
  const fingerprint = fingerprintOf(request);
  const look = () => keys.begin(key, fingerprint, () => digestOf(body));
  const first = await look();
  if (first.state !== 'running') return first;
  const lookAgain = async () => {
    const found = await look();
    return found.state === 'running' ? null : found;
  };
  const signal = holdSignal(request, reply);
  const found = await store.changes.waitFor(keys.message(key), MAX_WAIT_MS, lookAgain, signal);
  if (signal.reason instanceof ProblemError) throw signal.reason;
  return found ?? { state: 'running' };
}

/** @param answer of the request to which the key belongs; '': it has none yet */
function mismatch(key: string, answer: string): ProblemError {
  const headers = answer.startsWith('{') ? (JSON.parse(answer) as Answer).headers : {};
  const what = headers.location ? `, for ${headers.location}` : '';
  return new ProblemError(
    'idempotency-mismatch',
    `The idempotency key "${key.slice(0, 80)}" was used with another address or body${what}. ` +
      'Use a new key for a new request.',
  );
}

/** As `IdempotentRequest.end` takes it. */
function answerToKeep(request: FastifyRequest, reply: FastifyReply, payload: unknown): string | null {
  const status = reply.statusCode;
  if (status < 200 || status > 299) return null;
  if (request.routeOptions.config.hasSecretAnswer) return 'again';
  const canMakeAgain = request.idempotency?.hasReserved ?? false;
  if (canMakeAgain) {
    if (status === 202 && request.routeOptions.config.waitsForWork) return 'again';
    if (payload !== null && typeof payload !== 'string') return 'again';
    if (payload !== null && payload.length > MAX_KEPT_CHARACTERS) return 'again';
  }
  const sent = ANSWER_HEADERS.filter((name) => reply.hasHeader(name));
  const headers = Object.fromEntries(sent.map((name) => [name, String(reply.getHeader(name))]));
  const body = typeof payload === 'string' ? payload : null;
  return JSON.stringify({ status, headers, body } satisfies Answer);
}
