import { readFile } from 'node:fs/promises';
import type { Chance } from '../chaos/chance.ts';
import type { Tally } from './tally.ts';
import type { Target } from './target.ts';
import type { Things } from './things.ts';
import { type Exchange, exchange, type Sending } from './wire.ts';

/** An operation of the contract. */
export interface Operation {
  readonly method: string;
  /** With its places, as `/v1/jobs/{id}`. */
  readonly path: string;
  readonly takesBody: boolean;
  /** Answers with events until somebody ends it. */
  readonly isStream: boolean;
}

/** How much of everything. */
export interface Scale {
  /** Connections that say nothing. */
  readonly idle: number;
  /** Event streams that nobody reads. */
  readonly followers: number;
  /** Bytes of a body that is far too large. */
  readonly bodyBytes: number;
  /** Requests that are broken at random. */
  readonly mutations: number;
  /** Hostile ids that each address is asked for. */
  readonly idsEach: number;
}

/** What attacks are made with. */
export interface Arena {
  readonly target: Target;
  /** Ids of what the caller has. */
  readonly things: Things;
  readonly tally: Tally;
  readonly chance: Chance;
  readonly scale: Scale;
  readonly operations: readonly Operation[];
  readonly say: (line: string) => void;
}

/** A kind of hostile requests. */
export interface Attack {
  readonly name: string;
  run(arena: Arena): Promise<void>;
}

interface Contract {
  readonly paths: Record<
    string,
    Record<string, { requestBody?: object; responses: Record<string, { content?: object }> }>
  >;
}

/** Every operation of `openapi/openapi.json`. */
export async function readOperations(): Promise<Operation[]> {
  const file = new URL('../../openapi/openapi.json', import.meta.url);
  const { paths } = JSON.parse(await readFile(file, 'utf8')) as Contract;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody, responses }]) => ({
      method: method.toUpperCase(),
      path,
      takesBody: requestBody !== undefined,
      isStream: 'text/event-stream' in (responses[200]?.content ?? {}),
    })),
  );
}

/** A request as text; `headers` are whole lines and come after Host and the key. */
export function request(
  { target }: Arena,
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

/** Sends, judges, and hands out what came. */
export async function attack(
  { target, tally }: Arena,
  name: string,
  sending: Sending | Buffer | string,
  statuses?: readonly number[],
): Promise<Exchange> {
  const done = await exchange(
    target.port,
    typeof sending === 'string' || Buffer.isBuffer(sending) ? { bytes: sending } : sending,
  );
  tally.judge(name, done, statuses);
  return done;
}

/** Runs `work` over all of `items`, some at a time. */
export async function each<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<unknown>,
  atATime = 16,
): Promise<void> {
  const waiting = items[Symbol.iterator]();
  const lane = async () => {
    for (let next = waiting.next(); !next.done; next = waiting.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atATime }, lane));
}

/** Whether the service still does what it is for, within a bound. */
export async function isWell(arena: Arena, after: string): Promise<void> {
  const { answers, milliseconds } = await attack(
    arena,
    `a plain request ${after}`,
    request(arena, 'GET', '/v1/jobs?limit=1'),
    [200],
  );
  arena.tally.check(
    answers[0]?.status === 200 && milliseconds < 10_000,
    'others are served meanwhile',
    after,
    `${milliseconds.toFixed(0)} ms`,
  );
}
