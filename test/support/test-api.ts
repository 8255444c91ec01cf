import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { expect } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import { blobFolder, type Config, readConfig } from '../../src/config/config.ts';
import { PROBLEMS, type ProblemCode } from '../../src/contract/problem.ts';
import type { Problem } from '../../src/contract/schemas/common.ts';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { Policy } from '../../src/contract/schemas/policy.ts';
import type { BlobStore } from '../../src/storage/blobs.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import type { Resolve } from '../../src/webhooks/resolve-target.ts';

/** Fields that tests read from a JSON answer of any kind. Missing ones are undefined. */
export type JsonAnswer = Partial<Problem> &
  Partial<Job> &
  Partial<Policy> & { readonly [name: string]: unknown };

/** A JSON value; a string or bytes, which are sent as they are; or undefined for no body. */
export type Body = unknown;

/**
 * An API on a free port, as `npm run api` starts it, with a storage and a Redis key prefix that no
 * other test uses.
 */
export interface TestApi {
  readonly url: string;
  readonly redisUrl: string;
  /** The records of the API, over a connection of the test. */
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly config: Config;
  /** Folder for the files of the test. `close` removes it. */
  readonly folder: string;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** Sends `body` as JSON; a string or bytes as they are, with the content type in `headers`. */
  post(path: string, body?: Body, headers?: Record<string, string>): Promise<Response>;
  send(
    method: string,
    path: string,
    headers?: Record<string, string>,
    body?: string | Uint8Array<ArrayBuffer>,
  ): Promise<Response>;
  close(): Promise<void>;
}

/**
 * Starts an API. Uses the Redis of `overrides.redisUrl` or REDIS_URL, or else a private one.
 * @param overrides differences from the default configuration
 * @param logger receives what the API logs; default: nothing is logged
 * @param seams parts of `startApi` that a test replaces
 */
export async function startTestApi(
  overrides: Partial<Config> = {},
  logger: Logger = pino({ level: 'silent' }),
  seams: { readonly resolveHost?: Resolve; readonly heartbeatMilliseconds?: number } = {},
): Promise<TestApi> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-api-'));
  const redis = await ensureRedis({
    url: overrides.redisUrl ?? process.env.REDIS_URL,
    dataDir: folder,
    log: () => {},
  });
  const config: Config = {
    ...readConfig({ FINDERY_DATA: folder }),
    port: 0,
    redisPrefix: `test-${randomBytes(6).toString('hex')}`,
    ...overrides,
  };
  const api = await startApi({ config, redisUrl: redis.url, logger, ...seams });
  const store = await openStore(redis.url, config.redisPrefix, { failFast: true });
  const call = (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string | Uint8Array,
  ) => fetch(`${api.url}${path}`, { method, headers, body });
  return {
    url: api.url,
    redisUrl: redis.url,
    store,
    blobs: new FileBlobs(blobFolder(config)),
    config,
    folder,
    get: (path, headers) => call('GET', path, headers),
    send: call,
    post(path, body, headers = {}) {
      if (body === undefined) return call('POST', path, headers);
      if (typeof body === 'string' || body instanceof Uint8Array) return call('POST', path, headers, body);
      return call('POST', path, { 'content-type': 'application/json', ...headers }, JSON.stringify(body));
    },
    async close() {
      await api.close();
      // A given Redis must not keep any keys of the test.
      const keys = await store.redis.keys(`${config.redisPrefix}:*`);
      if (keys.length > 0) await store.redis.del(...keys);
      await store.close();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Expects this status and returns the parsed JSON. A failure shows the body. */
export async function readOk(response: Response, status: number): Promise<JsonAnswer> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  return JSON.parse(text) as JsonAnswer;
}

/** Expects a complete RFC 9457 problem with this status and code, and returns it. */
export async function expectProblem(response: Response, status: number, code: ProblemCode): Promise<Problem> {
  const text = await response.text();
  expect(`${response.status} ${response.headers.get('content-type')}`, text).toBe(
    `${status} application/problem+json`,
  );
  const problem = JSON.parse(text) as Problem;
  expect(problem).toMatchObject({
    type: `/problems/${code}`,
    title: PROBLEMS[code].title,
    status,
    code,
    requestId: response.headers.get('x-request-id'),
  });
  expect(problem.requestId).toMatch(/./);
  expect(problem.detail).toMatch(/^\S.*[.?]$/s);
  return problem;
}

/** The prompt of jobs whose prompt does not matter. */
export const PROMPT = 'a green dog on the grass';

/** Creates a job over HTTP. Without a worker it stays queued. */
export async function queueJob(
  api: TestApi,
  body: object = {},
  headers: Record<string, string> = {},
): Promise<JsonAnswer & { readonly id: string }> {
  const answer = await readOk(await api.post('/v1/jobs', { prompt: PROMPT, ...body }, headers), 202);
  return answer as JsonAnswer & { readonly id: string };
}

/** Marks a queued job as succeeded, as a worker does at its end. */
export async function succeedJob({ store }: TestApi, id: string): Promise<void> {
  await store.queues.remove('optimize', id);
  const outcome = await store.jobs.change(id, {
    set: { status: 'succeeded', finishedAt: new Date().toISOString() },
    events: [
      { type: 'status', data: { status: 'succeeded', stage: 'ended' } },
      { type: 'done', data: { id, status: 'succeeded' } },
    ],
  });
  expect(outcome).toBe('done');
}

/** Runs `action` and returns its duration in milliseconds and its result. */
export async function timed<T>(action: () => Promise<T>): Promise<[number, T]> {
  const start = performance.now();
  const value = await action();
  return [performance.now() - start, value];
}

/**
 * What the text of a problem has to say.
 * - `pointer`: JSON pointer of the field that it is about; null: it is about no field.
 * - `says`: strings and patterns that the text must contain, such as the rejected value and what is
 *   accepted.
 */
export type ExpectedText = readonly [pointer: string | null, ...says: (string | RegExp)[]];

/** Expects the text of a problem to match, its detail and the message of the field together. */
export function expectProblemText(problem: Problem, [pointer, ...says]: ExpectedText): void {
  if (pointer !== null) expect((problem.errors ?? []).map((error) => error.pointer)).toContain(pointer);
  const message = problem.errors?.find((error) => error.pointer === pointer)?.message ?? '';
  for (const words of says) expect(`${problem.detail} ${message}`).toMatch(words);
}

/** Expects that there is no record and no blob, so a refused request left nothing behind. */
export async function expectNothingStored({ store, blobs }: TestApi): Promise<void> {
  for (const records of [store.jobs, store.samples, store.policies, store.images])
    expect((await records.list({ limit: 10 })).data).toEqual([]);
  expect(await Array.fromAsync(blobs.list(''))).toEqual([]);
}
