import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkUsage } from '../../src/contract/records.ts';
import { archiveEnded } from '../../src/jobs/archive.ts';
import { retryJob } from '../../src/jobs/lifecycle.ts';
import { reindex } from '../../src/maintenance/reindex.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import {
  expectProblem,
  expectProblemText,
  queueJob,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;
let admin: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  admin = withHeaders(api, (await createKey(api, { tenant: 'default', scopes: ['admin'] })).headers);
});
afterAll(() => api.close());

const today = new Date().toISOString().slice(0, 10);

/** The API as a new tenant sees it. */
async function newTenant(tenant: string, limits = {}): Promise<TestApi> {
  return withHeaders(api, (await createKey(api, { tenant, limits: { ...NO_LIMITS, ...limits } })).headers);
}

/** Ends a queued job as a worker does. */
async function endJob(id: string, status: 'succeeded' | 'failed', usage: WorkUsage): Promise<void> {
  await api.store.queues.remove('optimize', id);
  const set = { status, usage, finishedAt: new Date().toISOString() };
  expect(await api.store.jobs.change(id, { set })).toBe('done');
}

async function usageOf(who: TestApi, query = ''): Promise<unknown> {
  return (await readOk(await who.get(`/v1/usage${query}`), 200)).data;
}

describe('GET /v1/usage', () => {
  it('has the work of a tenant by day, and what its quotas leave', async () => {
    const acme = await newTenant('acme', { imagesPerDay: 1000, queuedJobs: 5 });
    expect(await usageOf(acme)).toEqual([]);
    const { id } = await queueJob(acme, { budget: { images: 40 } });
    await queueJob(acme, { budget: { images: 40 } });
    await endJob(id, 'succeeded', { images: 104, engineMilliseconds: 2500.4 });
    const answer = await readOk(await acme.get('/v1/usage'), 200);
    const storedBytes = (answer.limits as { storedBytes: { used: number } }).storedBytes.used;
    expect(storedBytes).toBeGreaterThan(1000);
    expect(answer).toMatchObject({
      object: 'usage',
      to: today,
      data: [
        { date: today, tenant: 'acme', jobs: 1, samples: 0, images: 104, engineSeconds: 2.5, storedBytes },
      ],
      limits: {
        queuedJobs: { limit: 5, used: 1, remaining: 4 },
        imagesPerDay: { limit: 1000, used: 208, remaining: 792 },
        storedBytes: { limit: null, used: storedBytes, remaining: null },
        requestsPerMinute: null,
      },
    });
  });

  it('counts growing totals of a job once: at checkpoints, at repeated ends and after a retry', async () => {
    const who = await newTenant('counted');
    const { id } = await queueJob(who);
    const { jobs } = api.store;
    const use = (images: number) => ({ set: { usage: { images, engineMilliseconds: 10 * images } } });
    await jobs.change(id, use(8));
    await jobs.change(id, use(16));
    await jobs.change(id, use(12)); // a worker that continued at an earlier checkpoint
    await endJob(id, 'failed', { images: 20, engineMilliseconds: 200 });
    await endJob(id, 'failed', { images: 20, engineMilliseconds: 200 });
    expect(await usageOf(who)).toMatchObject([{ jobs: 1, images: 20, engineSeconds: 0.2 }]);
    await retryJob(api.store, api.blobs, id, Date.now());
    await endJob(id, 'succeeded', { images: 84, engineMilliseconds: 900 });
    expect(await usageOf(who)).toMatchObject([{ jobs: 1, images: 84, engineSeconds: 0.9 }]);
  });

  it('counts a job that is canceled before it ran', async () => {
    const who = await newTenant('canceled');
    const { id } = await queueJob(who);
    await readOk(await who.post(`/v1/jobs/${id}/cancel`), 200);
    expect(await usageOf(who)).toMatchObject([{ jobs: 1, images: 0, engineSeconds: 0 }]);
  });

  it('comes back once with the archived records when Redis was lost', async () => {
    const who = await newTenant('lost');
    const { id } = await queueJob(who);
    await endJob(id, 'succeeded', { images: 50, engineMilliseconds: 700 });
    await archiveEnded(api.store, api.blobs, id);
    const before = await usageOf(who);
    const { redis, keys } = api.store;
    await redis.del(keys.usage(today), keys.record(id));
    await reindex(api.store, api.blobs);
    await reindex(api.store, api.blobs);
    expect(await usageOf(who)).toMatchObject([{ jobs: 1, images: 50, engineSeconds: 0.7 }]);
    expect(before).toMatchObject([{ jobs: 1, images: 50, engineSeconds: 0.7 }]);
  });

  it('shows other tenants to metrics:read and admin only', async () => {
    const who = await newTenant('private');
    const { id } = await queueJob(who);
    await endJob(id, 'succeeded', { images: 3, engineMilliseconds: 1 });
    const other = await newTenant('curious');
    for (const tenant of ['private', '*'])
      await expectProblem(await other.get(`/v1/usage?tenant=${tenant}`), 403, 'forbidden');
    expect(await usageOf(other, '?tenant=curious')).toEqual([]);
    const scraper = withHeaders(api, (await createKey(api, { scopes: ['metrics:read'] })).headers);
    for (const all of [admin, scraper]) {
      expect(await usageOf(all, '?tenant=private')).toMatchObject([{ tenant: 'private', images: 3 }]);
      const answer = await readOk(await all.get('/v1/usage?tenant=*'), 200);
      expect(answer.limits).toBeNull();
      const tenants = (answer.data as { tenant: string }[]).map(({ tenant }) => tenant);
      expect(tenants).toContain('private');
      expect(tenants).toEqual(tenants.toSorted());
    }
  });

  it('takes up to 400 days, 31 of all tenants', async () => {
    expect(await readOk(await admin.get('/v1/usage?from=2026-01-01&to=2026-01-01'), 200)).toMatchObject({
      from: '2026-01-01',
      to: '2026-01-01',
      data: [],
    });
    await readOk(await admin.get('/v1/usage?from=2024-12-01&to=2026-01-04'), 200);
    for (const [query, says] of [
      ['from=2024-11-30&to=2026-01-04', '401 days are more than 400'],
      ['from=2026-01-02&to=2026-01-01', '2026-01-02 is after 2026-01-01'],
      ['from=2026-01-01&to=2026-02-01&tenant=*', '32 days are more than 31'],
      ['from=yesterday', 'a day (UTC)'],
      ['from=2026-02-30', 'a day (UTC)'],
      ['tenant=Acme', 'the name of a tenant'],
    ]) {
      // Days that are well-formed and too many are a 422.
      const [status, code] = / days | after /.test(says)
        ? ([422, 'not-possible'] as const)
        : ([400, 'bad-request'] as const);
      const problem = await expectProblem(await admin.get(`/v1/usage?${query}`), status, code);
      expectProblemText(problem, [null, says]);
    }
  });

  it('keeps a day for 400 days', async () => {
    const { redis, keys } = api.store;
    const seconds = await redis.ttl(keys.usage(today));
    expect(seconds).toBeGreaterThan(400 * 86_400);
    expect(seconds).toBeLessThanOrEqual(401 * 86_400);
  });
});
