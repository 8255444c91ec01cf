import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newUlid } from '../../src/contract/ids.ts';
import { expectProblem, PROMPT, queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('a job that is read repeatedly', () => {
  it('is always the current one, whoever changed it', async () => {
    const { id } = await queueJob(api, { metadata: { a: 'b' } });
    const read = async () => readOk(await api.get(`/v1/jobs/${id}`), 200);
    const first = await read();
    expect(await read()).toEqual(first);
    await queueJob(api, { priority: 'high' });
    expect(await read()).toEqual({ ...first, queuePosition: Number(first.queuePosition) + 1 });
    const { progress } = await api.store.jobs.get(id);
    await api.store.jobs.change(id, { set: { progress: { ...progress, stage: 'searching' } } });
    expect(await read()).toMatchObject({
      progress: { stage: 'searching' },
      metadata: { a: 'b' },
      prompt: PROMPT,
    });
    await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
    expect(await read()).toMatchObject({ status: 'canceled', queuePosition: null });
    await api.store.jobs.remove(id, new Date().toISOString());
    await expectProblem(await api.get(`/v1/jobs/${id}`), 410, 'gone');
  });

  it('is a new one when its id is used again after Redis lost the first', async () => {
    const path = `/v1/jobs/job_${newUlid()}`;
    const put = (prompt: string) =>
      api.send('PUT', path, { 'content-type': 'application/json' }, JSON.stringify({ prompt }));
    const { id } = await readOk(await put(PROMPT), 202);
    await readOk(await api.get(path), 200);
    await api.store.queues.remove('optimize', String(id));
    await api.store.jobs.discard(String(id));
    await expectProblem(await api.get(path), 404, 'not-found');
    await readOk(await put('a red cat'), 202);
    expect(await readOk(await api.get(path), 200)).toMatchObject({ prompt: 'a red cat' });
  });

  it('is not found under the id of another kind of record', async () => {
    await expectProblem(await api.get(`/v1/jobs/pol_${newUlid()}`), 404, 'not-found');
  });
});
