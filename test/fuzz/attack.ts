import { readFile } from 'node:fs/promises';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Findings } from './findings.ts';
import { type Exchange, exchange, type RawRequest } from './raw-http-client.ts';
import type { Resources } from './resources.ts';
import type { Target } from './target.ts';

/** An operation of the OpenAPI document. */
export interface Operation {
  readonly method: string;
  /** Path with its parameters, such as `/v1/jobs/{id}`. */
  readonly path: string;
  readonly takesBody: boolean;
  /** Answers with server-sent events until the client disconnects. */
  readonly isStream: boolean;
}

/** The amounts of hostile requests. */
export interface Scale {
  /** Connections that send nothing. */
  readonly idle: number;
  /** Event streams whose clients do not read. */
  readonly followers: number;
  /** Size of a body that is far too large. */
  readonly bodyBytes: number;
  /** Requests with random damage. */
  readonly mutations: number;
  /** Hostile ids for each operation; more than there are: all of them. */
  readonly idsEach: number;
}

/** What an attack works with. */
export interface AttackContext {
  readonly target: Target;
  /** Ids of resources of the tenant acme. */
  readonly resources: Resources;
  readonly findings: Findings;
  readonly random: SeededRandom;
  readonly scale: Scale;
  readonly operations: readonly Operation[];
  readonly log: (line: string) => void;
}

/** A kind of hostile requests: one file in `attacks/`. */
export interface Attack {
  readonly name: string;
  run(context: AttackContext): Promise<void>;
}

/** The parts of the OpenAPI document that are used. */
interface OpenApiDocument {
  readonly paths: Record<
    string,
    Record<string, { requestBody?: object; responses: Record<string, { content?: object }> }>
  >;
}

/** Every operation of `openapi/openapi.json`. */
export async function readOperations(): Promise<Operation[]> {
  const file = new URL('../../openapi/openapi.json', import.meta.url);
  const { paths } = JSON.parse(await readFile(file, 'utf8')) as OpenApiDocument;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody, responses }]) => ({
      method: method.toUpperCase(),
      path,
      takesBody: requestBody !== undefined,
      isStream: 'text/event-stream' in (responses[200]?.content ?? {}),
    })),
  );
}

/**
 * The bytes of a request with the key of acme.
 * @param headers complete lines, which follow the headers Host and Authorization
 */
export function request(
  { target }: AttackContext,
  method: string,
  path: string,
  { headers = [], body }: { readonly headers?: readonly string[]; readonly body?: string | Buffer } = {},
): Buffer {
  const isGiven = (name: string) => headers.some((line) => line.toLowerCase().startsWith(`${name}:`));
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: Bearer ${target.keys.acme}`,
    ...(body === undefined || isGiven('content-type') ? [] : ['Content-Type: application/json']),
    ...(body === undefined || isGiven('content-length') || isGiven('transfer-encoding')
      ? []
      : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body ?? '')]);
}

/**
 * Sends a request, checks the responses and returns them.
 * @param name name of the request in the findings
 * @param statuses statuses that are allowed for the first response; default: all below 500
 */
export async function sendAndCheck(
  { target, findings }: AttackContext,
  name: string,
  sending: RawRequest | Buffer | string,
  statuses?: readonly number[],
): Promise<Exchange> {
  const done = await exchange(
    target.port,
    typeof sending === 'string' || Buffer.isBuffer(sending) ? { bytes: sending } : sending,
  );
  findings.checkExchange(name, done, statuses);
  return done;
}

/** Runs `work` for every item, with a limited number at the same time. */
export async function forEachConcurrently<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<unknown>,
  concurrency = 16,
): Promise<void> {
  const remaining = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = remaining.next(); !next.done; next = remaining.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** Checks that the service still answers a plain request within 10 seconds. */
export async function checkStillServing(context: AttackContext, after: string): Promise<void> {
  const { responses, milliseconds } = await sendAndCheck(
    context,
    `a plain request ${after}`,
    request(context, 'GET', '/v1/jobs?limit=1'),
    [200],
  );
  context.findings.check(
    responses[0]?.status === 200 && milliseconds < 10_000,
    'other clients are served meanwhile',
    after,
    `${milliseconds.toFixed(0)} ms`,
  );
}
