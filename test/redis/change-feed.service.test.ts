import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const publish = (id: string) => api.store.redis.publish(api.store.keys.changes(), id);

describe('a change feed', () => {
  it('calls the listeners of an id, and those of every id, until they are removed', async () => {
    const { changes } = api.store;
    const heard: string[] = [];
    const removers = [
      changes.on('job_a', (id) => heard.push(`one ${id}`)),
      changes.on('*', (id) => heard.push(`all ${id}`)),
    ];
    await publish('job_a');
    await publish('job_b');
    await expect.poll(() => heard).toEqual(['one job_a', 'all job_a', 'all job_b']);
    for (const remove of removers) remove();
    await publish('job_a');
    await setTimeout(50);
    expect(heard).toHaveLength(3);
  });

  it('waits until a read after a change finds something', async () => {
    let value: string | null = null;
    const waiting = api.store.changes.waitFor('job_c', 60_000, async () => value);
    await setTimeout(20);
    value = 'found';
    await publish('job_c');
    expect(await waiting).toBe('found');
  });

  it('gives null when the time is over or the signal aborts', async () => {
    const read = async () => null;
    expect(await api.store.changes.waitFor('job_d', 10, read)).toBeNull();
    const aborted = new AbortController();
    const waiting = api.store.changes.waitFor('job_d', 60_000, read, aborted.signal);
    aborted.abort();
    expect(await waiting).toBeNull();
  });
});
