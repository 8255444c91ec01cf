import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { expectProblem, queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/** No worker runs here: without an end, a stream or a held answer would stay open. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

/** A queued job of a key, and a second key of the same tenant. */
async function twoHolders() {
  const [first, second] = [await createKey(api), await createKey(api)];
  const { id } = await queueJob(withHeaders(api, first.headers));
  const set = (change: Parameters<ApiKeys['update']>[1]) =>
    new ApiKeys(api.store.redis, api.store.keys).update(first.key.id, change);
  return { id, first: withHeaders(api, first.headers), second: withHeaders(api, second.headers), set };
}

describe('an answer that stays open', () => {
  it.each([
    ['is revoked', () => ({ revokedAt: new Date().toISOString() })],
    ['expires', () => ({ expiresAt: new Date(Date.now() - 1000).toISOString() })],
  ])('ends when its key %s: an event stream; streams of other keys go on', async (_how, change) => {
    const { id, first, second, set } = await twoHolders();
    const [stream, other] = await Promise.all(
      [first, second].map((holder) => holder.get(`/v1/jobs/${id}/events`)),
    );
    expect([stream?.status, other?.status]).toEqual([200, 200]);
    const ended = stream?.text();
    await set(change());
    expect(await ended).toMatch(/event: status/);
    await expectProblem(await first.get(`/v1/jobs/${id}/events`), 401, 'unauthorized');
    await api.store.jobs.change(id, { events: [{ type: 'done', data: {} }] });
    expect(await other?.text()).toMatch(/event: done/);
  });

  it('ends when its key is revoked: a held request, with 401', async () => {
    const { id, first, set } = await twoHolders();
    const held = first.get(`/v1/jobs/${id}`, { prefer: 'wait=60' });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await set({ revokedAt: new Date().toISOString() });
    await expectProblem(await held, 401, 'unauthorized');
  });
});
