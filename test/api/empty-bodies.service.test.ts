import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

interface Operation {
  readonly requestBody?: { readonly required?: boolean };
}

let api: TestApi;
const operations: { readonly method: string; readonly path: string }[] = [];

beforeAll(async () => {
  api = await startTestApi();
  const { paths } = (await readOk(await api.get('/openapi.json'), 200)) as unknown as {
    readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
  };
  for (const [path, item] of Object.entries(paths))
    for (const method of ['post', 'delete', 'put', 'patch'])
      if (item[method] && !item[method].requestBody?.required) operations.push({ method, path });
});
afterAll(() => api.close());

const EMPTY: readonly (readonly [string, Record<string, string>, string | undefined])[] = [
  ['JSON', { 'content-type': 'application/json' }, undefined],
  ['JSON of length 0', { 'content-type': 'application/json; charset=utf-8' }, ''],
  ['a form of length 0', { 'content-type': 'application/x-www-form-urlencoded' }, ''],
  ['text', { 'content-type': 'text/plain' }, undefined],
];

describe('an empty body that is called', () => {
  it.each(EMPTY)('%s is no body, wherever none is needed', async (_, headers, body) => {
    expect(operations.length).toBeGreaterThan(5);
    for (const { method, path } of operations) {
      const address = path.replace(/\{\w+\}/g, 'none');
      const { status } = await api.send(method.toUpperCase(), address, headers, body);
      expect(`${method} ${path}: ${status}`).toMatch(/: (2\d\d|404|409)$/);
    }
  });

  it('JSON cancels a job', async () => {
    const { id } = await queueJob(api);
    const answer = await api.send('POST', `/v1/jobs/${id}/cancel`, { 'content-type': 'application/json' });
    expect(await readOk(answer, 200)).toMatchObject({ status: 'canceled' });
  });

  it('JSON in chunks is no body either', async () => {
    const { id } = await queueJob(api);
    const init: RequestInit & { duplex: 'half' } = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new ReadableStream({ start: (controller) => controller.close() }),
      duplex: 'half',
    };
    expect((await fetch(`${api.url}/v1/jobs/${id}/cancel`, init)).status).toBe(200);
  });
});
