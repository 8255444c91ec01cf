import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { ApiKeys, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

let service: TestService;
let store: Store;
beforeAll(async () => {
  service = await startTestService({ FINDERY_KEYS: 'auto' });
  const { REDIS_URL = '', FINDERY_REDIS_PREFIX = '' } = service.environment;
  store = await openStore(REDIS_URL, FINDERY_REDIS_PREFIX, { failFast: true });
});
afterAll(async () => {
  await store.close();
  await service.close();
});

/** Sends requests with a new key of `tenant`. */
async function client(tenant: string) {
  const newKey = { name: tenant, tenant, scopes: ['admin'] as const, limits: NO_LIMITS, expiresAt: null };
  const { secret } = await new ApiKeys(store.redis, store.keys).create(newKey, new Date());
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
  return (path: string, body?: object) =>
    fetch(`${service.url}${path}`, {
      method: body ? 'POST' : 'GET',
      headers,
      body: body && JSON.stringify(body),
    });
}

it('a worker alternates between tenants, and only the tenant of a job can read its results', {
  timeout: 240_000,
}, async () => {
  const [acme, rival] = [await client('acme'), await client('rival')];
  const tiny = {
    prompt: 'a green dog',
    budget: { images: 2 },
    sampler: { steps: 1 },
    reportDraws: 0,
    samples: 1,
  };
  const queue = async (who: typeof acme) => ((await (await who('/v1/jobs', tiny)).json()) as Job).id;
  const a = [await queue(acme), await queue(acme), await queue(acme)];
  const b = await queue(rival);
  await service.startWorker();
  const ended = async (who: typeof acme, id: string) => {
    await (await who(`/v1/jobs/${id}/events`)).text();
    return (await (await who(`/v1/jobs/${id}`)).json()) as Job;
  };
  const jobs = [...(await Promise.all(a.map((id) => ended(acme, id)))), await ended(rival, b)];
  expect(jobs.map(({ status }) => status)).toEqual(Array(4).fill('succeeded'));
  const inOrder = jobs.sort((one, other) => (String(one.startedAt) < String(other.startedAt) ? -1 : 1));
  expect(inOrder.map(({ id }) => id)).toEqual([a[0], b, a[1], a[2]]);

  const { policyId, sampleId, previewUrl, urls } = inOrder[0];
  const sample = (await (await acme(`/v1/samples/${sampleId}`)).json()) as Sample;
  const queued = await acme(`/v1/policies/${policyId}/samples`, { count: 1, steps: 1 });
  const { id: secondId } = (await queued.json()) as Sample;
  await expect
    .poll(async () => ((await (await acme(`/v1/samples/${secondId}`)).json()) as Sample).images, {
      timeout: 60_000,
    })
    .toHaveLength(1);
  const secondImageUrl = ((await (await acme(`/v1/samples/${secondId}`)).json()) as Sample).images[0].url;
  const paths = [
    urls.self,
    urls.events,
    urls.rewards,
    `/v1/policies/${policyId}`,
    `/v1/policies/${policyId}/parameters`,
    `/v1/samples/${sampleId}`,
    `/v1/samples/${secondId}`,
    String(previewUrl),
    sample.images[0].url,
    secondImageUrl,
  ];
  for (const path of paths) {
    expect((await acme(path)).status, path).toBe(200);
    expect((await rival(path)).status, path).toBe(404);
  }
  expect(Number(await store.redis.hget(store.keys.storedBytes(), 'acme'))).toBeGreaterThan(3 * 4096);
});
