import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import {
  type ExpectedText,
  expectNothingStored,
  expectProblem,
  expectProblemText,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('addresses', () => {
  const KINDS = [
    ['GET', '/v1/jobs/ID', 'job', 'job'],
    ['GET', '/v1/jobs/ID/events', 'job', 'job'],
    ['GET', '/v1/jobs/ID/rewards', 'job', 'job'],
    ['POST', '/v1/jobs/ID/cancel', 'job', 'job'],
    ['GET', '/v1/policies/ID', 'pol', 'policy'],
    ['GET', '/v1/policies/ID/parameters', 'pol', 'policy'],
    ['DELETE', '/v1/policies/ID', 'pol', 'policy'],
    ['POST', '/v1/policies/ID/samples', 'pol', 'policy'],
    ['GET', '/v1/samples/ID', 'smp', 'sample'],
    ['GET', '/v1/images/ID', 'img', 'image'],
  ] as const;

  it.each(KINDS)('an unknown id gives 404: %s %s', async (method, path, kind, noun) => {
    const id = newId(kind);
    const problem = await expectProblem(await api.send(method, path.replace('ID', id)), 404, 'not-found');
    expect(problem.detail).toContain(`There is no ${noun} "${id}"`);
  });

  it.each(KINDS)('a malformed id gives 404: %s %s', async (method, path) => {
    for (const id of [
      '..%2f..%2fetc',
      '%00',
      'x',
      '%F0%9F%90%95',
      'a:b',
      '__proto__',
      '*',
      '%20',
      'job_'.repeat(30),
    ])
      await expectProblem(await api.send(method, path.replace('ID', id)), 404, 'not-found');
  });

  it.each(KINDS)(
    'an id of another kind gives 404, even if its record exists: %s %s',
    async (method, path, kind) => {
      const id = newId(kind === 'job' ? 'pol' : 'job');
      await api.store.redis.hset(api.store.keys.record(id), 'id', JSON.stringify(id), 'status', 'queued');
      await expectProblem(await api.send(method, path.replace('ID', id)), 404, 'not-found');
      await api.store.redis.del(api.store.keys.record(id));
    },
  );

  it('an id that is too long gives 404, one that is not UTF-8 gives 400', async () => {
    await expectProblem(await api.get(`/v1/jobs/${'a'.repeat(129)}`), 404, 'not-found');
    await expectProblem(await api.get('/v1/jobs/%ff'), 400, 'bad-request');
  });

  it('an unknown model or problem type gives 404 with the known ones', async () => {
    const model = await expectProblem(await api.get('/v1/models/sdxl'), 404, 'not-found');
    expect(model.detail).toMatch(/"sdxl".*stickers/);
    const kind = await expectProblem(await api.get('/problems/constructor'), 404, 'not-found');
    expect(kind.detail).toMatch(/"constructor".*bad-request/);
  });

  it.each([
    ['/v1/jobs?stauts=queued', ['/stauts', 'stauts', 'limit, after, status']],
    ['/v1/jobs?status=done', ['/status', '"done"', 'queued, running']],
    ['/v1/jobs?limit=0', ['/limit', 'is 0', '1 to 100']],
    ['/v1/jobs?limit=101', ['/limit', 'is 101', '1 to 100']],
    ['/v1/jobs?limit=ten', ['/limit', '"ten"', 'integer']],
    ['/v1/jobs?limit=5&limit=6', ['/limit', 'integer']],
    ['/v1/jobs?after=..%2f', ['/after', /"\.\.\/"/, 'job_ and 26 characters']],
    ['/v1/jobs?after=%5Bx', ['/after', 'job_ and 26 characters']],
    [`/v1/jobs?after=${'j'.repeat(65)}`, ['/after', 'jjj', 'job_ and 26 characters']],
    ['/v1/policies?after=job_00000000000000000000000000', ['/after', 'job_000', 'pol_ and 26 characters']],
    ['/v1/policies?status=queued', ['/status', 'not known here', 'limit, after, model']],
    ['/v1/jobs/x/rewards?format=pdf', ['/format', '"pdf"', 'json, csv, svg, png']],
    ['/v1/jobs/x/rewards?sigma=-1', ['/sigma', 'is -1', '0 to 100']],
    ['/v1/jobs/x/rewards?sigma=1e9', ['/sigma', 'is 1000000000', '0 to 100']],
    ['/v1/images/x?width=0', ['/width', 'is 0', '1 to 2048']],
    ['/v1/images/x?width=1000000000', ['/width', 'is 1000000000', '1 to 2048']],
    ['/v1/images/x?width=1.5', ['/width', '1.5', 'integer']],
    ['/v1/images/x?height=5', ['/height', 'not known here', 'width']],
  ] as const satisfies readonly (readonly [string, ExpectedText])[])('%s gives 400', async (path, words) => {
    expectProblemText(await expectProblem(await api.get(path), 400, 'bad-request'), words);
  });

  it.each([
    ['DELETE', '/v1/jobs', ['GET', 'POST']],
    ['PATCH', '/v1/jobs/x', ['GET', 'PUT']],
    ['GET', '/v1/jobs/x/cancel', ['POST']],
    ['PATCH', '/v1/policies/x', ['GET', 'DELETE']],
    ['GET', '/v1/policies/x/samples', ['POST']],
    ['POST', '/healthz', ['GET']],
    ['QUERY', '/v1/jobs', ['GET', 'POST']],
    ['DELETE', '/v1/models/', ['GET']],
  ])('%s %s gives 405 with Allow', async (method, path, allowed) => {
    const response = await api.send(method, path);
    const problem = await expectProblem(response, 405, 'method-not-allowed');
    const allow = response.headers.get('allow')?.split(', ');
    expect(allow).toEqual(expect.arrayContaining(allowed));
    expect(allow).not.toContain(method);
    expect(problem.detail).toContain(`${method} ${path}`);
  });

  it.each(['/', '/v1', '/v2/jobs', '/v1/job', '/v1/jobs/x/y/z', '/.env', '/v1/jobs%2f'])(
    '%s gives 404',
    async (path) => {
      const problem = await expectProblem(await api.get(path), 404, 'not-found');
      expect(problem.detail).toMatch(/docs/);
    },
  );

  it('a request id that is unsafe to log is replaced', async () => {
    for (const given of ['a b', 'x'.repeat(65), 'é', '{"a":1}']) {
      const response = await api.get('/v1/jobs/x', { 'x-request-id': given });
      const { requestId } = await expectProblem(response, 404, 'not-found');
      expect(requestId).toMatch(/^req_[0-9a-z]{26}$/);
    }
  });

  it('a truncated body does not harm the server', async () => {
    await new Promise<void>((resolve) => {
      const headers = { 'content-type': 'application/json', 'content-length': '100' };
      const cut = request(`${api.url}/v1/jobs`, { method: 'POST', headers }, (response) => response.resume());
      cut.on('error', () => {}).on('close', resolve);
      cut.write('{"prompt":');
      setTimeout(() => cut.destroy(), 20);
    });
    expect((await api.get('/healthz')).status).toBe(200);
  });

  it('an invalid body of a cancel request gives 400', async () => {
    const response = await api.post(`/v1/jobs/${newId('job')}/cancel`, { keepPartial: 'yes' });
    expectProblemText(await expectProblem(response, 400, 'bad-request'), [
      '/keepPartial',
      '"yes"',
      'boolean',
    ]);
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
