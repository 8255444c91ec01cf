import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { blobFolder } from '../../src/config/config.ts';
import { backup } from '../../src/maintenance/backup/backup.ts';
import { restore } from '../../src/maintenance/backup/restore.ts';
import { verifyBackup } from '../../src/maintenance/backup/verify.ts';
import { sha256Of } from '../../src/sha256.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { openStore } from '../../src/store/store.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/** What changes between the copy of Redis and that of the blobs, at the same moment every time. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** Storage whose service makes a change when a backup begins to list all blobs. */
class ChangingBlobs extends FileBlobs {
  readonly #change: () => Promise<void>;

  constructor(folder: string, change: () => Promise<void>) {
    super(folder);
    this.#change = change;
  }

  override async *list(prefix: string): AsyncGenerator<string> {
    if (prefix === '') await this.#change();
    yield* super.list(prefix);
  }
}

it('a job that replaces its checkpoint meanwhile is copied again, with the new one', async () => {
  const id = String((await queueJob(api)).id);
  const saveCheckpoint = async (iteration: number) => {
    const bytes = new Uint8Array(64).fill(iteration);
    const key = `checkpoints/${id}-${iteration}-token.safetensors`;
    await api.blobs.put(key, bytes);
    await api.store.jobs.change(id, { set: { checkpoint: { key, iteration, sha256: sha256Of(bytes) } } });
    return key;
  };
  const first = await saveCheckpoint(1);
  let second = '';
  const source = new ChangingBlobs(blobFolder(api.config), async () => {
    second = await saveCheckpoint(2);
    await api.blobs.delete(first);
  });
  const place = new FileBlobs(join(api.folder, 'backup'));
  await backup(api.store, source, place, '2026-01-02T03:04:05Z');

  expect(await verifyBackup(place)).toMatchObject({ problems: [] });
  const restored = await openStore(api.redisUrl, `${api.config.redisPrefix}-restored`, { failFast: true });
  const blobs = new FileBlobs(join(api.folder, 'restored'));
  expect(await restore(restored, blobs, place, { force: false })).toMatchObject({ reopened: [] });
  expect((await restored.jobs.get(id)).checkpoint?.key).toBe(second);
  expect(Buffer.from((await blobs.get(second)) ?? []).equals(Buffer.alloc(64, 2))).toBe(true);
  const keys = await restored.redis.keys(`${api.config.redisPrefix}-restored:*`);
  await restored.redis.del(...keys);
  await restored.close();
});
