import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '../../src/client/client.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { startTestService, type TestService } from './processes.ts';

/** A service with a worker, and what it keeps in Redis and storage within a test's reach: to be lost and brought back. */
export interface KeptService {
  readonly service: TestService;
  readonly client: Client;
  readonly store: Store;
  readonly blobs: FileBlobs;
  /** As if Redis had been lost: nothing of this service is left in it. API and worker go on. */
  wipe(): Promise<void>;
  /** `findery ...` in a process of its own, on the same Redis and storage. */
  findery(...args: string[]): Promise<{ said: string; status: number }>;
  /** All that a client sees of an address: status, headers that matter, bytes. */
  look(path: string, accept?: string): Promise<Seen>;
  close(): Promise<void>;
}

export interface Seen {
  readonly path: string;
  readonly status: number;
  readonly etag: string | null;
  readonly type: string | null;
  readonly body: string;
}

export async function startKeptService(): Promise<KeptService> {
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
    async wipe() {
      const keys = await store.redis.keys(`${store.keys.prefix}:*`);
      if (keys.length > 0) await store.redis.del(...keys);
    },
    findery(...args) {
      return promisify(execFile)('bin/findery', args, { env: service.environment }).then(
        ({ stdout }) => ({ said: stdout, status: 0 }),
        (error: { stdout: string; stderr: string; code: number }) => ({
          said: error.stderr + error.stdout,
          status: error.code,
        }),
      );
    },
    async look(path, accept) {
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
