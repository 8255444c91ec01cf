import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '../../src/client/client.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { startTestService, type TestService } from './test-service.ts';

/** A service with a worker, whose Redis and storage a test can lose and restore. */
export interface RecoverableService {
  readonly service: TestService;
  readonly client: Client;
  readonly store: Store;
  readonly blobs: FileBlobs;
  /** Deletes all keys of this service, which simulates a loss of Redis. API and worker go on. */
  loseRedis(): Promise<void>;
  /**
   * Runs the `findery` program on the same Redis and storage. `output` is standard output, on an
   * error both streams.
   */
  findery(...args: string[]): Promise<{ output: string; status: number }>;
  /** Everything that a client sees at a path. */
  snapshot(path: string, accept?: string): Promise<ResponseSnapshot>;
  close(): Promise<void>;
}

/** The answer to a GET request, comparable with `toEqual`. */
export interface ResponseSnapshot {
  readonly path: string;
  readonly status: number;
  readonly etag: string | null;
  readonly type: string | null;
  /** The bytes, decoded as latin1. */
  readonly body: string;
}

/** Starts API and worker with a storage and a key prefix that no other test uses. */
export async function startRecoverableService(): Promise<RecoverableService> {
  const service = await startTestService({ FINDERY_WARM: 'none' });
  const { REDIS_URL, FINDERY_REDIS_PREFIX, FINDERY_DATA } = service.environment;
  const [store] = await Promise.all([
    openStore(String(REDIS_URL), String(FINDERY_REDIS_PREFIX), { failFast: true }),
    service.startWorker(),
  ]);
  return {
    service,
    client: new Client(service.url),
    store,
    blobs: new FileBlobs(join(String(FINDERY_DATA), 'blobs')),
    async loseRedis() {
      const keys = await store.redis.keys(`${store.keys.prefix}:*`);
      if (keys.length > 0) await store.redis.del(...keys);
    },
    findery(...args) {
      return promisify(execFile)('bin/findery', args, { env: service.environment }).then(
        ({ stdout }) => ({ output: stdout, status: 0 }),
        (error: { stdout: string; stderr: string; code: number }) => ({
          output: error.stderr + error.stdout,
          status: error.code,
        }),
      );
    },
    async snapshot(path, accept) {
      const response = await fetch(new URL(path, service.url), {
        headers: { 'x-request-id': 'look', ...(accept ? { accept } : {}) },
      });
      const { status, headers } = response;
      const body = Buffer.from(await response.arrayBuffer()).toString('latin1');
      return { path, status, etag: headers.get('etag'), type: headers.get('content-type'), body };
    },
    async close() {
      await store.close();
      await service.close();
    },
  };
}
