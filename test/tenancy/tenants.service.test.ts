import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { archiveEnded } from '../../src/jobs/archive.ts';
import { indexTenants } from '../../src/maintenance/index-tenants.ts';
import { reindex } from '../../src/maintenance/reindex.ts';
import { Records } from '../../src/records/records.ts';
import { TenantRecords } from '../../src/records/tenant-records.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { openStore, scopeStore } from '../../src/store/store.ts';
import { announceWorker } from '../../src/store/worker-registry.ts';
import { NO_LIMITS, SCOPES } from '../../src/tenancy/api-keys.ts';
import { as, makeKey } from '../support/key-holders.ts';
import {
  expectProblem,
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/service.ts';

/** What the contract says there is; a route that is added to it is walked without anybody's doing. */
interface Operation {
  readonly method: string;
  readonly path: string;
  readonly name: string;
  readonly scope: string | null;
}

/** Bodies of operations that can't do without. */
const BODIES: { readonly [name: string]: unknown } = {
  createJob: { prompt: PROMPT },
  putJob: { prompt: PROMPT },
  createSample: { prompt: PROMPT },
  createWebhookEndpoint: { url: 'http://127.0.0.1:9/' },
  updateWebhookEndpoint: { enabled: false },
};

let api: TestApi;
let acme: TestApi;
let rival: TestApi;
let operations: Operation[];
/** Something of acme's for each place in a path: `/v1/jobs/{id}` -> its id. */
let mine: { readonly [place: string]: string };
/** Everything of acme's, deleted things too. */
let ids: string[];
let deleted: string;
let heartbeat: NodeJS.Timeout;

beforeAll(async () => {
  api = await startTestApi({ webhookAllow: ['127.0.0.1'] });
  acme = as(api, (await makeKey(api, { tenant: 'acme' })).headers);
  rival = as(api, (await makeKey(api, { tenant: 'rival' })).headers);
  const document = (await (await api.get('/openapi.json')).json()) as {
    paths: Record<string, Record<string, { operationId: string; security: { key: string[] }[] }>>;
  };
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, security }]) => ({
      method: method.toUpperCase(),
      path,
      name: operationId,
      scope: security[0]?.key[0] ?? null,
    })),
  );

  const file = encodePolicy(
    {
      shape: [4, 16, 16],
      mean: new Float32Array(1024),
      std: Float32Array.of(1),
      weights: Float32Array.of(1),
    },
    { prompt: PROMPT },
  );
  const upload = async () => {
    const response = await acme.post('/v1/policies', file, { 'content-type': 'application/octet-stream' });
    return String((await readOk(response, 201)).id);
  };
  const endpoint = await readOk(await acme.post('/v1/webhook-endpoints', BODIES.createWebhookEndpoint), 201);
  const delivery = await readOk(await acme.post(`/v1/webhook-endpoints/${endpoint.id}/test`), 202);
  const { id: job } = await queueJob(
    acme,
    { metadata: { secret: 'plans' } },
    { 'idempotency-key': 'order 1' },
  );
  const { id: ended } = await queueJob(acme);
  await succeedJob(api, ended);
  const policy = await upload();
  const sample = String((await readOk(await acme.post(`/v1/policies/${policy}/samples`), 202)).id);
  const image = newId('img');
  const key = `images/${image}.png`;
  await api.blobs.put(key, Buffer.from('picture'));
  const now = new Date().toISOString();
  const picture = {
    id: image,
    tenant: 'acme',
    key,
    width: 8,
    height: 8,
    format: 'png' as const,
    createdAt: now,
  };
  await api.store.images.create(picture, { parent: sample });
  deleted = await upload();
  expect((await acme.send('DELETE', `/v1/policies/${deleted}`)).status).toBe(204);
  const announce = () =>
    announceWorker(api.store.redis, api.store.keys, { ...WORKER, currentJobs: [job, sample] });
  await announce();
  // As a worker does: it would be gone after ten seconds, and so would what could be told of it.
  heartbeat = setInterval(() => void announce(), 2000);

  mine = {
    '/v1/jobs/{id}': job,
    '/v1/jobs/{id}/events': ended,
    '/v1/policies/{id}': policy,
    '/v1/samples/{id}': sample,
    '/v1/images/{id}': image,
    '/v1/models/{name}': '',
    '/v1/webhook-endpoints/{id}': String(endpoint.id),
    '/v1/webhook-deliveries/{id}': String(delivery.id),
  };
  ids = [...Object.values(mine).filter(Boolean), deleted];
});
afterAll(async () => {
  clearInterval(heartbeat);
  await api.close();
});

const WORKER = {
  object: 'worker',
  id: 'w',
  host: 'h',
  pid: 1,
  version: '0',
  startedAt: '2026-01-01T00:00:00Z',
  seenAt: '2026-01-01T00:00:00Z',
  device: 'cpu',
  executionProviders: ['cpu'],
  passedOver: [],
  threads: 1,
  batchSize: 1,
  reducedBatches: [],
  memoryBytes: 1,
  loaded: [],
  currentJobs: [],
  imagesPerSecond: null,
} satisfies WorkerInfo;

const call = (who: TestApi, { method, name }: Operation, path: string): Promise<Response> =>
  BODIES[name] === undefined
    ? who.send(method, path)
    : who.send(method, path, { 'content-type': 'application/json' }, JSON.stringify(BODIES[name]));

/** What of acme's belongs into the path: the entry for the path itself, or else for what it begins with. */
function ownId({ path }: Operation): string {
  const place = mine[path] === undefined ? path.slice(0, path.indexOf('}') + 1) : path;
  expect(Object.keys(mine), `${path} is new: give this test something of acme's for it`).toContain(place);
  return mine[place];
}

describe('over every address of the contract', () => {
  it('nobody comes in without a key, but to what is open', async () => {
    for (const operation of operations) {
      const response = await call(api, operation, operation.path.replace(/\{\w+\}/, newId('job')));
      const told = `${operation.method} ${operation.path}`;
      if (operation.path.startsWith('/v1/')) {
        await expectProblem(response, 401, 'unauthorized');
        expect(response.headers.get('www-authenticate'), told).toBe('Bearer realm="findery"');
      } else {
        expect(operation.scope, told).toBeNull();
        expect([401, 403], told).not.toContain(response.status);
        await response.body?.cancel();
      }
    }
    for (const path of ['/openapi.json', '/docs/']) expect((await api.get(path)).status).toBe(200);
  });

  it('a key without the scope that an address asks for is refused', async () => {
    for (const wanted of SCOPES.filter((scope) => scope !== 'admin')) {
      const scopes = SCOPES.filter((scope) => scope !== wanted && scope !== 'admin');
      const holder = as(api, (await makeKey(api, { scopes })).headers);
      const asking = operations.filter(({ scope }) => scope === wanted);
      expect(asking.length).toBeGreaterThan(0);
      for (const operation of asking) {
        const response = await call(holder, operation, operation.path.replace(/\{\w+\}/, newId('job')));
        const { detail } = await expectProblem(response, 403, 'forbidden');
        expect(detail).toContain(wanted);
        expect(response.headers.get('www-authenticate')).toContain(`scope="${wanted}"`);
      }
    }
  });

  it('another tenant’s ids are as if there were no such things', async () => {
    const withId = operations.filter(({ path, name }) => /^\/v1\/.*\{id\}/.test(path) && name !== 'putJob');
    expect(withId.length).toBeGreaterThanOrEqual(10);
    for (const operation of withId) {
      const id = ownId(operation);
      const nobodys = `${id.slice(0, -2)}00`;
      const [foreign, unknown] = await Promise.all(
        [id, nobodys].map(async (one) => {
          const response = await call(rival, operation, operation.path.replace('{id}', one));
          return (await expectProblem(response, 404, 'not-found')).detail.replaceAll(one, 'ID');
        }),
      );
      expect(foreign, operation.path).toBe(unknown);
    }
    await expectProblem(await acme.get(`/v1/policies/${deleted}`), 410, 'gone');
    await expectProblem(await rival.get(`/v1/policies/${deleted}`), 404, 'not-found');
  });

  it('an id of one’s own can be none that somebody’s job, or what it makes, has or had', async () => {
    const taken = [mine['/v1/jobs/{id}'], mine['/v1/jobs/{id}/events'], mine['/v1/policies/{id}'], deleted];
    const put = (who: TestApi, id: string) =>
      who.send(
        'PUT',
        `/v1/jobs/${id}`,
        { 'content-type': 'application/json' },
        JSON.stringify(BODIES.putJob),
      );
    const third = as(api, (await makeKey(api, { tenant: 'third' })).headers);
    const details = new Set<string>();
    for (const id of taken.map((one) => `job_${one.slice(4)}`)) {
      const { detail } = await expectProblem(await put(third, id), 409, 'conflict');
      details.add(detail.replace(id, 'ID'));
    }
    expect([...details], 'nothing tells what it is, or whose').toHaveLength(1);
    const free = newId('job');
    expect(await readOk(await put(third, free), 202)).toMatchObject({ id: free });
    await expectProblem(await put(acme, free), 409, 'conflict');
    await expectProblem(await put(acme, `job_${mine['/v1/policies/{id}'].slice(4)}`), 409, 'conflict');
    await readOk(await third.post(`/v1/jobs/${free}/cancel`), 200);
  });

  it('whose they are meets them at each of these addresses', async () => {
    const reads = operations.filter(({ method, path }) => method === 'GET' && /^\/v1\/.*\{id\}/.test(path));
    for (const operation of reads) {
      const response = await call(acme, operation, operation.path.replace('{id}', ownId(operation)));
      expect(response.status, operation.path).toBe(200);
      await response.body?.cancel();
    }
  });

  it('nothing of another tenant is in what is not asked for by its id', async () => {
    const reads = operations.filter(({ method, path }) => method === 'GET' && /^\/v1\/[^{]*$/.test(path));
    expect(reads.length).toBeGreaterThanOrEqual(7);
    for (const { path } of reads) {
      const text = await (await rival.get(path)).text();
      for (const id of ids) expect(text, path).not.toContain(id);
    }
    for (const path of ['/v1/jobs', '/v1/policies', '/v1/webhook-endpoints', '/v1/webhook-deliveries'])
      expect(await (await acme.get(path)).text()).toContain(mine[`${path}/{id}`]);
    for (const query of ['', `?subjectId=${ids[1]}`, `?endpointId=${mine['/v1/webhook-endpoints/{id}']}`])
      expect(await readOk(await rival.get(`/v1/webhook-deliveries${query}`), 200)).toMatchObject({
        data: [],
      });
    for (const query of [
      `after=${newId('job')}`,
      `after=${ids[0]}`,
      'status=queued',
      'metadata.secret=plans',
      'limit=1',
    ])
      expect(await readOk(await rival.get(`/v1/jobs?${query}`), 200)).toMatchObject({
        data: [],
        hasMore: false,
      });
  });

  it('queues and workers tell of the tenant’s own work, and who runs the service of all', async () => {
    const admin = as(api, (await makeKey(api, { tenant: 'house', scopes: ['admin'] })).headers);
    const jobsOf = async (who: TestApi) => {
      const { data } = (await readOk(await who.get('/v1/workers'), 200)) as unknown as { data: WorkerInfo[] };
      return data.map(({ currentJobs }) => currentJobs);
    };
    expect(await jobsOf(rival)).toEqual([[]]);
    expect(await jobsOf(acme)).toEqual([[mine['/v1/jobs/{id}'], mine['/v1/samples/{id}']]]);
    expect(await jobsOf(admin)).toEqual(await jobsOf(acme));
    expect(await readOk(await rival.get('/v1/queues'), 200)).toMatchObject({ unfinished: 0 });
    expect(await readOk(await acme.get('/v1/queues'), 200)).toMatchObject({ unfinished: 2 });
    expect(await readOk(await admin.get('/v1/queues'), 200)).toMatchObject({ unfinished: 2 });
  });
});

describe('tenants', () => {
  it('each have their own idempotency keys', async () => {
    const headers = { 'idempotency-key': 'order 1' };
    const other = await queueJob(rival, { seed: 3 }, headers);
    expect(ids).not.toContain(other.id);
    expect((await queueJob(acme, { metadata: { secret: 'plans' } }, headers)).id).toBe(mine['/v1/jobs/{id}']);
    expect((await queueJob(rival, { seed: 3 }, headers)).id).toBe(other.id);
  });

  it('do not show in answers', async () => {
    for (const path of [
      '/v1/jobs',
      '/v1/policies',
      '/v1/webhook-endpoints',
      '/v1/webhook-deliveries',
      `/v1/samples/${mine['/v1/samples/{id}']}`,
    ])
      expect(await (await acme.get(path)).text()).not.toContain('"tenant"');
  });

  it('own what was made before there were tenants, or without keys, as "default"', async () => {
    const old = await startTestApi();
    try {
      const { id } = await queueJob(old);
      const { redis, keys } = old.store;
      // As an older version left it.
      await redis.hdel(keys.record(id), 'tenant');
      await redis.del(keys.index('job', 'default'), `${keys.index('job')}:of`);
      await indexTenants(old.store);
      const holder = as(old, (await makeKey(old, { tenant: 'default' })).headers);
      const stranger = as(old, (await makeKey(old, { tenant: 'acme' })).headers);
      expect(await readOk(await holder.get(`/v1/jobs/${id}`), 200)).toMatchObject({ id });
      expect(await readOk(await holder.get('/v1/jobs'), 200)).toMatchObject({ data: [{ id }] });
      await expectProblem(await stranger.get(`/v1/jobs/${id}`), 404, 'not-found');
    } finally {
      await old.close();
    }
  });

  it('have what is theirs again, and nobody else has it, when Redis was lost', async () => {
    const [job, policy] = [mine['/v1/jobs/{id}/events'], mine['/v1/policies/{id}']];
    await archiveEnded(api.store, api.blobs, job);
    const again = await openStore(api.redisUrl, `${api.config.redisPrefix}:again`, { failFast: true });
    try {
      // Before any API has started on that Redis.
      await reindex(again, api.blobs);
      await indexTenants(again);
      const listed = async (tenant: string) => {
        const { jobs, policies } = scopeStore(again, { tenant, key: null, limits: NO_LIMITS });
        const pages = [await jobs.list({ limit: 100 }), await policies.list({ limit: 100 })];
        return pages.flatMap(({ data }) => data.map(({ id }) => id));
      };
      expect(await listed('acme')).toEqual([job, policy]);
      expect(await listed('default')).toEqual([]);
      expect(await again.redis.hget(again.keys.storedBytes(), 'acme')).toBe(
        String((await again.policies.get(policy)).bytes),
      );
      expect(await again.policies.findGone(deleted)).toMatchObject({ tenant: 'acme' });
    } finally {
      await again.close();
    }
  });

  it('a record can’t be written over another tenant’s', async () => {
    const id = mine['/v1/jobs/{id}'];
    const record = await api.store.jobs.get(id);
    await expect(api.store.jobs.create({ ...record, tenant: 'rival' }, { onlyNew: true })).rejects.toThrow(
      /is taken/,
    );
    expect(await api.store.jobs.get(id)).toEqual(record);
  });

  it('every method of the records has its guard', () => {
    const methods = (of: object) => Object.getOwnPropertyNames(of).sort();
    expect(methods(TenantRecords.prototype)).toEqual(methods(Records.prototype));
  });

  it('change nothing of another’s through the store either', async () => {
    const { redis, keys } = api.store;
    const theirs = new TenantRecords(redis, keys, 'job', 'job', 'rival');
    const id = mine['/v1/jobs/{id}'];
    expect(await theirs.change(id, { set: {} })).toBe('missing');
    await theirs.discard(id);
    await theirs.remove(id, new Date().toISOString());
    expect([
      await theirs.find(id),
      await theirs.tenantOf(id),
      await theirs.rewards(id),
      await theirs.children(id),
    ]).toEqual([null, null, [], []]);
    expect(await api.store.jobs.find(id)).not.toBeNull();
  });
});
