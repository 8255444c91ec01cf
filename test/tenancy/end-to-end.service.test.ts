import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { openStore, type Store } from '../../src/store/store.ts';
import { ApiKeys, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { startTestService, type TestService } from '../support/processes.ts';

/** Two tenants and one real worker. */
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

async function client(tenant: string) {
  const wanted = { name: tenant, tenant, scopes: ['admin'] as const, limits: NO_LIMITS, expiresAt: null };
  const { secret } = await new ApiKeys(store.redis, store.keys).create(wanted, new Date());
  const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
  return (path: string, body?: object) =>
    fetch(`${service.url}${path}`, {
      method: body ? 'POST' : 'GET',
      headers,
      body: body && JSON.stringify(body),
    });
}

it('a worker serves tenants by turns, and what a job makes is its tenant’s', {
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
  const drawn = await acme(`/v1/policies/${policyId}/samples`, { count: 1, steps: 1 });
  const { id: drawnId } = (await drawn.json()) as Sample;
  await expect
    .poll(async () => ((await (await acme(`/v1/samples/${drawnId}`)).json()) as Sample).images, {
      timeout: 60_000,
    })
    .toHaveLength(1);
  const drawnUrl = ((await (await acme(`/v1/samples/${drawnId}`)).json()) as Sample).images[0].url;
  const made = [
    urls.self,
    urls.events,
    urls.rewards,
    `/v1/policies/${policyId}`,
    `/v1/policies/${policyId}/parameters`,
    `/v1/samples/${sampleId}`,
    `/v1/samples/${drawnId}`,
    String(previewUrl),
    sample.images[0].url,
    drawnUrl,
  ];
  for (const path of made) {
    expect((await acme(path)).status, path).toBe(200);
    expect((await rival(path)).status, path).toBe(404);
  }
  expect(Number(await store.redis.hget(store.keys.storedBytes(), 'acme'))).toBeGreaterThan(3 * 4096);
});
