import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { SCOPES } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { expectProblem, readOk, type TestApi } from '../support/test-api.ts';
import { BODIES, call, type Operation, startTwoTenants, type TwoTenants } from '../support/two-tenants.ts';

let tenants: TwoTenants;
let api: TestApi;
let acme: TestApi;
let rival: TestApi;
let owned: TwoTenants['owned'];
let ids: readonly string[];
let deleted: string;
let operations: readonly Operation[];
beforeAll(async () => {
  tenants = await startTwoTenants();
  ({ api, acme, rival, owned, ids, deleted, operations } = tenants);
});
afterAll(() => tenants.close());

/** Acme's id for the path of an operation: the entry of the path, else of its start. */
function ownId({ path }: Operation): string {
  const place = owned[path] === undefined ? path.slice(0, path.indexOf('}') + 1) : path;
  expect(Object.keys(owned), `${path} is new: add a record of acme for it to startTwoTenants`).toContain(
    place,
  );
  return owned[place];
}

describe('every operation of the API', () => {
  it('answers 401 without a key, except for open operations', async () => {
    for (const operation of operations) {
      const response = await call(api, operation, operation.path.replace(/\{\w+\}/, newId('job')));
      const label = `${operation.method} ${operation.path}`;
      if (operation.path.startsWith('/v1/') || operation.path === '/metrics') {
        await expectProblem(response, 401, 'unauthorized');
        expect(response.headers.get('www-authenticate'), label).toBe('Bearer realm="findery"');
      } else {
        expect(operation.scopes, label).toEqual([]);
        expect([401, 403], label).not.toContain(response.status);
        await response.body?.cancel();
      }
    }
    for (const path of ['/openapi.json', '/docs/']) expect((await api.get(path)).status).toBe(200);
  });

  it('answers 403 to a key without the scope of the operation', async () => {
    const single = SCOPES.filter((scope) => scope !== 'admin' && scope !== 'tenant-admin');
    for (const required of single) {
      const scopes = single.filter((scope) => scope !== required);
      const holder = withHeaders(api, (await createKey(api, { scopes })).headers);
      const guarded = operations.filter((operation) => operation.scopes.join() === required);
      expect(guarded.length).toBeGreaterThan(0);
      for (const operation of guarded) {
        const response = await call(holder, operation, operation.path.replace(/\{\w+\}/, newId('job')));
        const { detail } = await expectProblem(response, 403, 'forbidden');
        expect(detail).toContain(required);
        expect(response.headers.get('www-authenticate')).toContain(`scope="${required}"`);
      }
    }
  });

  it('answers 404 to the ids of another tenant, exactly as to ids that do not exist', async () => {
    const withId = operations.filter(({ path, name }) => /^\/v1\/.*\{id\}/.test(path) && name !== 'putJob');
    expect(withId.length).toBeGreaterThanOrEqual(10);
    for (const operation of withId) {
      const id = ownId(operation);
      const unknownId = `${id.slice(0, -2)}00`;
      const [foreign, unknown] = await Promise.all(
        [id, unknownId].map(async (one) => {
          const response = await call(rival, operation, operation.path.replace('{id}', one));
          return (await expectProblem(response, 404, 'not-found')).detail.replaceAll(one, 'ID');
        }),
      );
      expect(foreign, operation.path).toBe(unknown);
    }
    await expectProblem(await acme.get(`/v1/policies/${deleted}`), 410, 'gone');
    await expectProblem(await rival.get(`/v1/policies/${deleted}`), 404, 'not-found');
  });

  it('rejects a chosen id that a record of any tenant has or had', async () => {
    const taken = [
      owned['/v1/jobs/{id}'],
      owned['/v1/jobs/{id}/events'],
      owned['/v1/policies/{id}'],
      deleted,
    ];
    const put = (who: TestApi, id: string) =>
      who.send(
        'PUT',
        `/v1/jobs/${id}`,
        { 'content-type': 'application/json' },
        JSON.stringify(BODIES.putJob),
      );
    const third = withHeaders(api, (await createKey(api, { tenant: 'third' })).headers);
    const details = new Set<string>();
    for (const id of taken.map((one) => `job_${one.slice(4)}`)) {
      const { detail } = await expectProblem(await put(third, id), 409, 'conflict');
      details.add(detail.replace(id, 'ID'));
    }
    expect([...details], 'the details do not reveal what has the id, or which tenant').toHaveLength(1);
    const free = newId('job');
    expect(await readOk(await put(third, free), 202)).toMatchObject({ id: free });
    await expectProblem(await put(acme, free), 409, 'conflict');
    await expectProblem(await put(acme, `job_${owned['/v1/policies/{id}'].slice(4)}`), 409, 'conflict');
    await readOk(await third.post(`/v1/jobs/${free}/cancel`), 200);
  });

  it('answers 200 to the tenant that has the record', async () => {
    const reads = operations.filter(({ method, path }) => method === 'GET' && /^\/v1\/.*\{id\}/.test(path));
    for (const operation of reads) {
      const response = await call(acme, operation, operation.path.replace('{id}', ownId(operation)));
      expect(response.status, operation.path).toBe(200);
      await response.body?.cancel();
    }
  });

  it('lists nothing of another tenant', async () => {
    const reads = operations.filter(({ method, path }) => method === 'GET' && /^\/v1\/[^{]*$/.test(path));
    expect(reads.length).toBeGreaterThanOrEqual(7);
    for (const { path } of reads) {
      const text = await (await rival.get(path)).text();
      for (const id of ids) expect(text, path).not.toContain(id);
    }
    for (const path of [
      '/v1/jobs',
      '/v1/samples',
      '/v1/policies',
      '/v1/webhook-endpoints',
      '/v1/webhook-deliveries',
    ])
      expect(await (await acme.get(path)).text()).toContain(owned[`${path}/{id}`]);
    for (const query of ['', `?subjectId=${ids[1]}`, `?endpointId=${owned['/v1/webhook-endpoints/{id}']}`])
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

  it('lets a key for metrics count the work of all tenants, and read nothing else', async () => {
    const scraper = withHeaders(api, (await createKey(api, { scopes: ['metrics:read'] })).headers);
    const counts = ['/v1/queues', '/v1/usage', '/metrics'];
    expect(await readOk(await scraper.get('/v1/queues'), 200)).toMatchObject({ unfinished: 2 });
    await readOk(await scraper.get('/v1/usage?tenant=*'), 200);
    expect((await scraper.get('/metrics')).status).toBe(200);
    for (const { path } of operations.filter(({ scopes }) => scopes.length > 0 && scopes[0] !== 'admin'))
      if (!counts.includes(path) && operations.some((one) => one.path === path && one.method === 'GET'))
        expect((await scraper.get(path.replace(/\{\w+\}/, newId('job')))).status, path).toBe(403);
  });

  it('shows a tenant its own work in queues and workers, and an admin all work', async () => {
    const admin = withHeaders(api, (await createKey(api, { tenant: 'house', scopes: ['admin'] })).headers);
    const jobsOf = async (who: TestApi) => {
      const { data } = await readOk(await who.get('/v1/workers'), 200);
      return (data as WorkerInfo[]).map(({ currentJobs }) => currentJobs);
    };
    const hostsOf = async (who: TestApi) => {
      const { data } = await readOk(await who.get('/v1/workers'), 200);
      return (data as WorkerInfo[]).map(({ host, pid }) => typeof host + typeof pid);
    };
    expect(await hostsOf(acme)).toEqual(['undefinedundefined']);
    expect(await hostsOf(admin)).toEqual(['stringnumber']);
    expect(await jobsOf(rival)).toEqual([[]]);
    expect(await jobsOf(acme)).toEqual([[owned['/v1/jobs/{id}'], owned['/v1/samples/{id}']]]);
    expect(await jobsOf(admin)).toEqual(await jobsOf(acme));
    expect(await readOk(await rival.get('/v1/queues'), 200)).toMatchObject({ unfinished: 0 });
    expect(await readOk(await acme.get('/v1/queues'), 200)).toMatchObject({ unfinished: 2 });
    expect(await readOk(await admin.get('/v1/queues'), 200)).toMatchObject({ unfinished: 2 });
  });

  it('is open to an admin of the tenant if it is to any key but that of an admin', async () => {
    const admin = withHeaders(api, (await createKey(api, { scopes: ['tenant-admin'] })).headers);
    for (const operation of operations.filter(({ scopes }) => scopes.length > 0)) {
      const response = await call(admin, operation, operation.path.replace(/\{\w+\}/, newId('job')));
      const isForAdmins = !operation.scopes.some((scope) => /^(read|tenant-admin|.*:write)$/.test(scope));
      expect(response.status === 403, `${operation.method} ${operation.path}`).toBe(isForAdmins);
      await response.body?.cancel();
    }
  });
});
