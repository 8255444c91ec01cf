import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  expectProblem,
  type JsonAnswer,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
} from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('GET /v1/jobs', () => {
  const ids: string[] = [];
  beforeAll(async () => {
    for (let i = 0; i < 5; i++) {
      const { id } = await queueJob(api, { metadata: { list: 'pages', parity: i % 2 ? 'odd' : 'even' } });
      ids.unshift(id);
    }
    await succeedJob(api, ids[2]);
  });

  const list = async (query: string) =>
    (await readOk(await api.get(`/v1/jobs?metadata.list=pages&${query}`), 200)) as JsonAnswer & {
      data: { id: string }[];
      hasMore: boolean;
      nextAfter: string | null;
    };

  it('returns pages, newest first', async () => {
    const seen: string[][] = [];
    let query = 'limit=2';
    for (;;) {
      const { data, hasMore, nextAfter } = await list(query);
      seen.push(data.map(({ id }) => id));
      expect(nextAfter).toBe(hasMore ? data.at(-1)?.id : null);
      if (!hasMore) break;
      query = `limit=2&after=${nextAfter}`;
    }
    expect(seen).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
  });

  it('has no more pages after a full last page', async () => {
    expect(await list('limit=5')).toMatchObject({ hasMore: false, nextAfter: null });
  });

  it('continues after an id that is not in the list', async () => {
    const oldest = 'job_00000000000000000000000000';
    expect(await list(`after=${oldest}`)).toEqual({ data: [], hasMore: false, nextAfter: null });
    expect((await list('after=job_zzzzzzzzzzzzzzzzzzzzzzzzzz')).data).toHaveLength(5);
  });

  it('ends a page early when a filter skips many records, with the id to continue from', async () => {
    const oldest = ids[4];
    const pages: { data: { id: string }[]; hasMore: boolean; nextAfter: string | null }[] = [];
    for (let after: string | undefined; pages.length < 100; after = pages.at(-1)?.nextAfter ?? undefined) {
      pages.push(
        await api.store.jobs.list({ limit: 1, after, filter: ({ id }) => id === oldest, maxSkipped: 1 }),
      );
      if (!pages.at(-1)?.hasMore) break;
    }
    expect(pages.flatMap(({ data }) => data.map(({ id }) => id))).toEqual([oldest]);
    expect(pages[0]).toEqual({ data: [], hasMore: true, nextAfter: ids[1] });
    expect(pages.at(-1)).toMatchObject({ hasMore: false, nextAfter: null });
  });

  it('filters by status, model and metadata', async () => {
    expect((await list('status=succeeded')).data.map(({ id }) => id)).toEqual([ids[2]]);
    expect((await list('status=queued')).data).toHaveLength(4);
    expect((await list('model=stickers')).data).toHaveLength(5);
    expect((await list('model=other')).data).toEqual([]);
    expect((await list('metadata.parity=odd')).data.map(({ id }) => id)).toEqual([ids[1], ids[3]]);
    expect((await list('metadata.parity=odd&limit=1')).hasMore).toBe(true);
    expect((await list('metadata.parity=none')).data).toEqual([]);
    expect((await list('metadata.constructor=x')).data).toEqual([]);
  });
});

describe('POST /v1/jobs/{id}/cancel', () => {
  it('cancels a waiting job at once; repeating it changes nothing', async () => {
    const { id } = await queueJob(api);
    const canceled = await readOk(await api.post(`/v1/jobs/${id}/cancel`), 200);
    expect(canceled).toMatchObject({ status: 'canceled', progress: { stage: 'ended' }, queuePosition: null });
    expect(canceled.finishedAt).toMatch(/Z$/);
    expect(await api.store.queues.has('optimize', id)).toBe(false);
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`, {}), 200)).toEqual(canceled);
  });

  it('marks a running job, remembers keepPartial and notifies the workers', async () => {
    const { id } = await queueJob(api);
    await api.store.jobs.change(id, { set: { status: 'running' } });
    const heard = new Promise((resolve) => {
      const subscriber = api.store.redis.duplicate();
      onTestFinished(() => subscriber.disconnect());
      subscriber.on('message', (_channel: string, message: string) => resolve(message));
      void subscriber.subscribe(api.store.keys.cancels()).then(async () => {
        const response = await api.post(`/v1/jobs/${id}/cancel`, { keepPartial: true });
        expect(await readOk(response, 202)).toMatchObject({ status: 'canceling' });
        expect(response.headers.get('retry-after')).toBe('1');
      });
    });
    expect(await heard).toBe(id);
    expect(await api.store.jobs.get(id)).toMatchObject({ cancelRequested: true, keepPartial: true });
    expect(await readOk(await api.post(`/v1/jobs/${id}/cancel`), 202)).toMatchObject({ status: 'canceling' });
    expect(await api.store.jobs.get(id)).toMatchObject({ keepPartial: true });
  });

  it('answers 409 for a job that has ended', async () => {
    const { id } = await queueJob(api);
    await succeedJob(api, id);
    const { detail } = await expectProblem(await api.post(`/v1/jobs/${id}/cancel`), 409, 'conflict');
    expect(detail).toContain(`The job ${id} has succeeded already`);
    expect((await api.store.jobs.get(id)).status).toBe('succeeded');
  });
});
