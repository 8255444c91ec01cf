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

/** What the tests read of any JSON answer; what is not in it is undefined. */
export type Answer = Partial<Problem> & Partial<Job> & Partial<Policy> & { readonly [name: string]: unknown };

/** Any JSON value, or a text that is sent as it is, or bytes, or no body at all. */
export type Body = unknown;

/** The HTTP interface as `npm run api` starts it, on a free port, with storage and a part of Redis of its own. */
export interface TestApi {
  readonly url: string;
  readonly redisUrl: string;
  /** What the API keeps, on a connection of the test's own. */
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly config: Config;
  /** A folder for the test's files; it goes with `close`. */
  readonly folder: string;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** `body` goes out as JSON; a string or bytes as they are, with the content type that `headers` gives. */
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
 * Starts one; a private Redis comes with it unless REDIS_URL, or `redisUrl`, names one. `overrides` go over the
 * configuration; what is logged goes to `logger`, else nowhere; `seams` are those of startApi.
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
      // A Redis that was given is left as it was found.
      const keys = await store.redis.keys(`${config.redisPrefix}:*`);
      if (keys.length > 0) await store.redis.del(...keys);
      await store.close();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The JSON of an answer that went well; the problem in the failure's message otherwise. */
export async function readOk(response: Response, status: number): Promise<Answer> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  return JSON.parse(text) as Answer;
}

/** Checks that `response` is a whole RFC 9457 problem of that kind, and hands it out. */
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

export const PROMPT = 'a green dog on the grass';

/** Queues a job through the API. */
export async function queueJob(
  api: TestApi,
  body: object = {},
  headers: Record<string, string> = {},
): Promise<Answer & { readonly id: string }> {
  const answer = await readOk(await api.post('/v1/jobs', { prompt: PROMPT, ...body }, headers), 202);
  return answer as Answer & { readonly id: string };
}

/** Ends a job as a worker does. */
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

/** Milliseconds that `action` takes, and what it gives. */
export async function timed<T>(action: () => Promise<T>): Promise<[number, T]> {
  const start = performance.now();
  const value = await action();
  return [performance.now() - start, value];
}

/** The pointer where it is about one field, and what the words must hold: the value that was there, what is accepted. */
export type Words = readonly [pointer: string | null, ...says: (string | RegExp)[]];

/** Checks the words of a problem. */
export function expectWords(problem: Problem, [pointer, ...says]: Words): void {
  if (pointer !== null) expect((problem.errors ?? []).map((error) => error.pointer)).toContain(pointer);
  const message = problem.errors?.find((error) => error.pointer === pointer)?.message ?? '';
  for (const words of says) expect(`${problem.detail} ${message}`).toMatch(words);
}

/** Checks that whatever was refused left nothing behind: no record, no blob. */
export async function expectNothing({ store, blobs }: TestApi): Promise<void> {
  for (const records of [store.jobs, store.samples, store.policies, store.images])
    expect((await records.list({ limit: 10 })).data).toEqual([]);
  expect(await Array.fromAsync(blobs.list(''))).toEqual([]);
}
