import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archiveEnded } from '../../src/jobs/archive.ts';
import { indexTenants } from '../../src/maintenance/index-tenants.ts';
import { reindex } from '../../src/maintenance/reindex.ts';
import { Records } from '../../src/records/records.ts';
import { TenantRecords } from '../../src/records/tenant-records.ts';
import { openStore, scopeStore } from '../../src/store/store.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { expectProblem, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';
import { startTwoTenants, type TwoTenants } from '../support/two-tenants.ts';

let tenants: TwoTenants;
let api: TestApi;
let acme: TestApi;
let rival: TestApi;
let owned: TwoTenants['owned'];
let ids: readonly string[];
let deleted: string;
beforeAll(async () => {
  tenants = await startTwoTenants();
  ({ api, acme, rival, owned, ids, deleted } = tenants);
});
afterAll(() => tenants.close());

describe('the records of a tenant', () => {
  it('have idempotency keys of their own', async () => {
    const headers = { 'idempotency-key': 'order 1' };
    const other = await queueJob(rival, { seed: 3 }, headers);
    expect(ids).not.toContain(other.id);
    expect((await queueJob(acme, { metadata: { secret: 'plans' } }, headers)).id).toBe(
      owned['/v1/jobs/{id}'],
    );
    expect((await queueJob(rival, { seed: 3 }, headers)).id).toBe(other.id);
  });

  it('do not name the tenant in answers', async () => {
    for (const path of [
      '/v1/jobs',
      '/v1/policies',
      '/v1/webhook-endpoints',
      '/v1/webhook-deliveries',
      `/v1/samples/${owned['/v1/samples/{id}']}`,
    ])
      expect(await (await acme.get(path)).text()).not.toContain('"tenant"');
  });

  it('belong to "default" when they were made before there were tenants, or without keys', async () => {
    const old = await startTestApi();
    try {
      const { id } = await queueJob(old);
      const { redis, keys } = old.store;
      // An older version stored no tenant.
      await redis.hdel(keys.record(id), 'tenant');
      await redis.del(keys.index('job', 'default'), `${keys.index('job')}:of`);
      await indexTenants(old.store);
      const holder = withHeaders(old, (await createKey(old, { tenant: 'default' })).headers);
      const stranger = withHeaders(old, (await createKey(old, { tenant: 'acme' })).headers);
      expect(await readOk(await holder.get(`/v1/jobs/${id}`), 200)).toMatchObject({ id });
      expect(await readOk(await holder.get('/v1/jobs'), 200)).toMatchObject({ data: [{ id }] });
      await expectProblem(await stranger.get(`/v1/jobs/${id}`), 404, 'not-found');
    } finally {
      await old.close();
    }
  });

  it('belong to the same tenant after Redis was lost and rebuilt', async () => {
    const [job, policy] = [owned['/v1/jobs/{id}/events'], owned['/v1/policies/{id}']];
    await archiveEnded(api.store, api.blobs, job);
    const rebuilt = await openStore(api.redisUrl, `${api.config.redisPrefix}:again`, { failFast: true });
    try {
      // Before any API has started with that Redis.
      await reindex(rebuilt, api.blobs);
      await indexTenants(rebuilt);
      const listed = async (tenant: string) => {
        const { jobs, policies } = scopeStore(rebuilt, { tenant, key: null, limits: NO_LIMITS });
        const pages = [await jobs.list({ limit: 100 }), await policies.list({ limit: 100 })];
        return pages.flatMap(({ data }) => data.map(({ id }) => id));
      };
      expect(await listed('acme')).toEqual([job, policy]);
      expect(await listed('default')).toEqual([]);
      expect(await rebuilt.redis.hget(rebuilt.keys.storedBytes(), 'acme')).toBe(
        String((await rebuilt.policies.get(policy)).bytes),
      );
      expect(await rebuilt.policies.findGone(deleted)).toMatchObject({ tenant: 'acme' });
    } finally {
      await rebuilt.close();
    }
  });

  it('are not overwritten by another tenant', async () => {
    const id = owned['/v1/jobs/{id}'];
    const record = await api.store.jobs.get(id);
    await expect(api.store.jobs.create({ ...record, tenant: 'rival' }, { onlyNew: true })).rejects.toThrow(
      /is taken/,
    );
    expect(await api.store.jobs.get(id)).toEqual(record);
  });

  it('are guarded in every method of Records', () => {
    const methods = (of: object) => Object.getOwnPropertyNames(of).sort();
    expect(methods(TenantRecords.prototype)).toEqual(methods(Records.prototype));
  });

  it('are not changed by another tenant through the store', async () => {
    const { redis, keys } = api.store;
    const rivals = new TenantRecords(redis, keys, 'job', 'job', 'rival');
    const id = owned['/v1/jobs/{id}'];
    expect(await rivals.change(id, { set: {} })).toBe('missing');
    await rivals.discard(id);
    await rivals.remove(id, new Date().toISOString());
    expect([
      await rivals.find(id),
      await rivals.tenantOf(id),
      await Array.fromAsync(rivals.rewardPages(id)),
      await rivals.children(id),
    ]).toEqual([null, null, [], []]);
    expect(await api.store.jobs.find(id)).not.toBeNull();
  });
});
