import { Queue, Worker } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { QUEUES } from '../../src/queue/queues.ts';
import { startTestApi, type TestApi } from '../support/service.ts';

/** The queue itself, with workers of BullMQ as `workers/worker.ts` has them, but for the work. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());
// A test may stop while something waits.
afterEach(async () => {
  const left = await api.store.redis.keys(`${api.config.redisPrefix}:*`);
  if (left.length > 0) await api.store.redis.del(...left);
});

type Priority = 'high' | 'normal' | 'low';
const names = new Map<string, string>();

/** Queues `count` entries, called TENANT1, TENANT2 ... */
async function queue(tenant: string, count: number, { priority = 'normal' as Priority, from = 1 } = {}) {
  for (let i = from; i < from + count; i++) {
    const id = newId('job');
    names.set(id, `${tenant}${i}`);
    await api.store.queues.add('optimize', { id, tenant, priority });
  }
}

const idOf = (name: string) => [...names].find(([, known]) => known === name)?.[0] ?? '';

/** Serves until nothing is left, or `work` says so by 'stop'; gives the names in the order in which they began. */
async function serve(
  work: (name: string, times: number) => Promise<'fail' | 'stop' | undefined> = async () => undefined,
): Promise<string[]> {
  const order: string[] = [];
  const { store } = api;
  const done = Promise.withResolvers<void>();
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
  const worker = new Worker<{ id: string; tenant: string }>(
    QUEUES.optimize,
    async ({ data }) => {
      await store.queues.started('optimize', data);
      const name = names.get(data.id) ?? '?';
      order.push(name);
      const word = await work(name, order.filter((other) => other === name).length);
      if (word === 'stop') done.resolve();
      if (word === 'fail') throw new Error('again');
    },
    { connection, prefix: store.keys.queues() },
  );
  worker.on('drained', () => done.resolve());
  worker.on('error', () => {});
  await done.promise;
  await worker.close();
  connection.disconnect();
  return order;
}

const positions = (...of: string[]) =>
  Promise.all(of.map(async (name) => api.store.queues.position('optimize', idOf(name))));

describe('turns between tenants', () => {
  beforeEach(() => names.clear());

  it('serves one tenant by priority and age, as if there were no turns', async () => {
    await queue('a', 2);
    await queue('a', 1, { priority: 'low', from: 3 });
    await queue('a', 2, { priority: 'high', from: 4 });
    expect(await positions('a1', 'a2', 'a3', 'a4', 'a5')).toEqual([3, 4, 5, 1, 2]);
    expect(await serve()).toEqual(['a4', 'a5', 'a1', 'a2', 'a3']);
  });

  it('one tenant queues 200 jobs, then another one: that starts next after the running one', async () => {
    await queue('a', 200);
    let position: (number | null)[] = [];
    const order = await serve(async (name) => {
      if (name !== 'a1') return name === 'a3' ? 'stop' : undefined;
      await queue('b', 1);
      position = await positions('b1', 'a2', 'a200');
      return undefined;
    });
    expect(position).toEqual([1, 2, 200]);
    expect(order.slice(0, 4)).toEqual(['a1', 'b1', 'a2', 'a3']);
  });

  it('gives every tenant one turn in each round, whenever it came and however much it has', async () => {
    await queue('a', 4);
    await queue('b', 2);
    await queue('c', 3);
    const told = await positions('a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', 'c3', 'a4');
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await serve()).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', 'c3', 'a4']);
  });

  it('a priority counts among a tenant’s own, and before nobody else’s', async () => {
    await queue('a', 3);
    await queue('b', 2);
    await queue('b', 2, { priority: 'high', from: 3 });
    expect(await serve()).toEqual(['a1', 'b3', 'a2', 'b4', 'a3', 'b1', 'b2']);
  });

  it('passes the turn of what is taken out of the queue to the tenant’s next', async () => {
    await queue('a', 3);
    await queue('b', 2);
    expect(await api.store.queues.remove('optimize', idOf('a1'))).toBe(true);
    expect(await positions('a1', 'a2', 'b1')).toEqual([null, 1, 2]);
    expect(await serve()).toEqual(['a2', 'b1', 'a3', 'b2']);
  });

  it('a tenant is not held to account for what it has canceled', async () => {
    await queue('a', 20);
    await queue('b', 2);
    for (let i = 1; i <= 20; i++) await api.store.queues.remove('optimize', idOf(`a${i}`));
    await queue('a', 1, { from: 21 });
    expect(await serve()).toEqual(['b1', 'a21', 'b2']);
  });

  it('brings back what is tried again; that is its tenant’s turn', async () => {
    await queue('a', 3);
    await queue('b', 3);
    let begun = 0;
    const order = await serve(async (name, times) => {
      if (++begun === 7) return 'stop';
      if (name === 'a1' && times === 1) return 'fail';
      await new Promise((resolve) => setTimeout(resolve, 400)); // the first pause before a next try is a second
      return undefined;
    });
    expect(order.slice(0, 3)).toEqual(['a1', 'b1', 'a2']);
    expect(order.filter((name) => name === 'a1')).toHaveLength(2);
    expect(order.indexOf('b2')).toBeLessThanOrEqual(4);
    expect(new Set(order).size).toBe(6);
  });

  it('an entry that a crash kept from the turns, or a turn that was never passed on, is served all the same', async () => {
    const { redis, keys } = api.store;
    await queue('a', 2);
    await queue('b', 2);
    // As a crash leaves it between BullMQ's step and ours.
    for (const key of await redis.keys(`${keys.turns('optimize')}*`)) await redis.del(key);
    expect((await serve()).sort()).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  it('a turn that was kept from a tenant by a crash is given with the next one that begins', async () => {
    const { redis, keys } = api.store;
    await queue('a', 6);
    await queue('b', 2);
    // b1 was canceled, and the process died before b2 came in turn.
    const prefix = keys.queues();
    await redis.zrem(`${prefix}:optimize:prioritized`, idOf('b1'));
    await redis.del(`${prefix}:optimize:${idOf('b1')}`);
    const order = await serve();
    expect(order.indexOf('b2')).toBeLessThanOrEqual(2);
    expect(order).toHaveLength(7);
  });

  it('settles what was queued by a version without turns when an API starts', async () => {
    const { redis, keys, queues } = api.store;
    const old = new Queue(QUEUES.optimize, { connection: redis, prefix: keys.queues() });
    for (let i = 1; i <= 30; i++) {
      const id = newId('job');
      names.set(id, `a${i}`);
      await old.add('optimize', { id }, { jobId: id, priority: 2 });
    }
    await queue('b', 1);
    await queues.settle();
    expect(await positions('a1', 'b1', 'a2', 'a30')).toEqual([1, 2, 3, 31]);
    expect((await serve()).slice(0, 3)).toEqual(['a1', 'b1', 'a2']);
  });
});
