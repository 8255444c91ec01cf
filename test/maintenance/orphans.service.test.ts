import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { recordKey } from '../../src/jobs/archive.ts';
import { ORPHAN_AGE_MS } from '../../src/maintenance/sweep/sweep.ts';
import { createEndedJob, daysAgo, findery, setUpSweepApi } from '../support/sweep-api.ts';
import { queueJob } from '../support/test-api.ts';

const context = setUpSweepApi();

describe('orphaned blobs', { timeout: 180_000 }, () => {
  const orphan = async (key: string, age: number) => {
    await context.api.blobs.put(key, Uint8Array.of(1));
    const at = (Date.now() - age) / 1000;
    await utimes(join(context.api.config.dataFolder, 'blobs', key), at, at);
    return key;
  };
  const old = ORPHAN_AGE_MS + 60_000;

  it('are deleted when old: unused checkpoints, blobs without a record or of deleted ones', async () => {
    const { id: job } = await queueJob(context.api);
    const checkpoint = await orphan(`checkpoints/${job}-5.safetensors`, old);
    await context.api.store.jobs.change(job, { set: { checkpoint: { key: checkpoint, iteration: 5 } } });
    // A failed job can be retried from its checkpoint.
    const { id: failed } = await queueJob(context.api);
    const resumable = await orphan(`checkpoints/${failed}-7-0b7f-4c.safetensors`, old);
    await context.api.store.jobs.change(failed, {
      set: { status: 'failed', checkpoint: { key: resumable, iteration: 7 } },
    });
    const young = await orphan(`checkpoints/${job}-6.safetensors`, ORPHAN_AGE_MS / 2);
    const others = await orphan('notes/mine.txt', old);
    // A job that has not ended may be shared out again.
    const share = await orphan(`shares/${job}-0b7f-4c-0-1.safetensors`, old);
    const removed = newId('pol');
    await context.api.store.redis.set(context.api.store.keys.gone(removed), daysAgo(1));
    const orphans = [
      await orphan(`checkpoints/${job}-4.safetensors`, old),
      await orphan(`checkpoints/${failed}-7-9a51-22.safetensors`, old),
      await orphan(`checkpoints/${newId('job')}-1.safetensors`, old),
      await orphan(`shares/${failed}-0b7f-4c-0-1.safetensors`, old),
      await orphan(`shares/${newId('job')}-0b7f-4c-0-1-worker-1.safetensors`, old),
      await orphan(`images/${newId('img')}.png`, old),
      await orphan(`policies/${removed}.safetensors`, old),
      await orphan(recordKey(removed), old),
    ];
    const swept = await context.sweep({});
    expect(new Set(swept?.orphans.map(({ key }) => key))).toEqual(new Set(orphans));
    expect(await Array.fromAsync(context.api.blobs.list(''))).toEqual(
      [checkpoint, resumable, young, others, share, recordKey(failed)].sort(),
    );
  });

  it('are not deleted while Redis lacks records that storage has; a warning says so', async () => {
    const { policy, preview } = await createEndedJob(context.api, 0);
    await context.sweep({});
    await orphan(`images/${preview}.png`, old);
    await orphan(`policies/${policy}.safetensors`, old);
    const before = await Array.fromAsync(context.api.blobs.list(''));
    const keys = await context.api.store.redis.keys(`${context.api.config.redisPrefix}:*`);
    await context.api.store.redis.del(...keys);
    expect((await context.sweep({}))?.warning).toMatch(
      /1 orphaned blobs were not deleted, because Redis is empty\. Run findery reindex first/,
    );
    await queueJob(context.api);
    expect((await context.sweep({}))?.warning).toMatch(
      /Redis does not have 3 records and policies that storage has/,
    );
    expect(await Array.fromAsync(context.api.blobs.list(''))).toEqual(before);
  });

  it('are listed by findery sweep --dry-run, which deletes nothing', async () => {
    const { job } = await createEndedJob(context.api, 40);
    await context.sweep({});
    const key = await orphan(`images/${newId('img')}.png`, old);
    const before = await Array.fromAsync(context.api.blobs.list(''));
    const runSweep = (...options: string[]) => findery(context.api, '30', 'sweep', ...options);
    const { stdout } = await runSweep('--dry-run');
    expect(stdout).toContain(`job ${job}: ended more than 30 days ago`);
    expect(stdout).toMatch(new RegExp(`blob ${key} \\(1 bytes\\): img_\\w+ does not exist`));
    expect(stdout).toMatch(/Would delete 2 records and 1 orphaned blobs\.\n$/);
    expect(await Array.fromAsync(context.api.blobs.list(''))).toEqual(before);
    expect(await context.isThere(`/v1/jobs/${job}`)).toBe(true);
    expect((await runSweep()).stdout).toMatch(/Deleted 2 records and 1 orphaned blobs/);
    expect(await context.isThere(`/v1/jobs/${job}`)).toBe(false);
  });
});
