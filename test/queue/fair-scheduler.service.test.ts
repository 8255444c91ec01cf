import { type Job, Queue, WaitingError, Worker } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { QUEUES } from '../../src/queue/queues.ts';
import { startTestApi, type TestApi } from '../support/test-api.ts';

/** The queue with workers of BullMQ, as `workers/worker.ts` has them, that do no work. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());
// Some tests stop while entries wait.
afterEach(async () => {
  const left = await api.store.redis.keys(`${api.config.redisPrefix}:*`);
  if (left.length > 0) await api.store.redis.del(...left);
});

type Data = { id: string; tenant: string };
type Priority = 'high' | 'normal' | 'low';
const names = new Map<string, string>();

/** Queues `count` entries of a tenant, named TENANT1, TENANT2 ... */
async function queue(tenant: string, count: number, { priority = 'normal' as Priority, from = 1 } = {}) {
  for (let i = from; i < from + count; i++) {
    const id = newId('job');
    names.set(id, `${tenant}${i}`);
    await api.store.queues.add('optimize', { id, tenant, priority, model: 'stickers' });
  }
}

const idOf = (name: string) => [...names].find(([, known]) => known === name)?.[0] ?? '';

/**
 * Serves entries until none is left, or `work` returns 'stop'.
 * @returns the names in the order in which their work began
 */
async function serve(
  work: (
    name: string,
    attempt: number,
    entry: Job<Data>,
    token?: string,
  ) => Promise<'fail' | 'stop' | undefined> = async () => undefined,
): Promise<string[]> {
  const order: string[] = [];
  const { store } = api;
  const done = Promise.withResolvers<void>();
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
  const worker = new Worker<Data>(
    QUEUES.optimize,
    async (entry, token) => {
      const { data } = entry;
      await store.queues.begin('optimize', data);
      const name = names.get(data.id) ?? '?';
      order.push(name);
      const outcome = await work(name, order.filter((other) => other === name).length, entry, token);
      if (outcome === 'stop') done.resolve();
      if (outcome === 'fail') throw new Error('again');
    },
    { connection, prefix: store.keys.queuePrefix() },
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

describe('the fair scheduler', () => {
  beforeEach(() => names.clear());

  it('serves a single tenant by priority and age', async () => {
    await queue('a', 2);
    await queue('a', 1, { priority: 'low', from: 3 });
    await queue('a', 2, { priority: 'high', from: 4 });
    expect(await positions('a1', 'a2', 'a3', 'a4', 'a5')).toEqual([3, 4, 5, 1, 2]);
    expect(await serve()).toEqual(['a4', 'a5', 'a1', 'a2', 'a3']);
  });

  it('serves a new tenant next, however much another one has queued before', async () => {
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

  describe('an entry that makes room', () => {
    /** Serves everything; entries named in `yields` give way once. */
    const serveYielding = async (yields: readonly string[]) => {
      const { queues } = api.store;
      const left = new Set(yields);
      return serve(async (name, _attempt, entry, token) => {
        if (!left.delete(name)) return undefined;
        expect(await queues.mustYield('optimize', entry.data)).toBe(true);
        expect(await queues.mustYield('optimize', { id: idOf('a2'), tenant: 'a' })).toBe(false);
        await queues.giveWay('optimize', entry.data, async () => void (await entry.moveToWait(token)));
        throw new WaitingError();
      });
    };

    it('comes after its tenant and one entry of every other tenant', async () => {
      await queue('a', 2);
      await queue('b', 2);
      expect(await serveYielding(['a1'])).toEqual(['a1', 'b1', 'a2', 'b2', 'a1']);
    });

    it('comes before lower priorities and later entries', async () => {
      await queue('a', 1);
      await queue('a', 1, { from: 2, priority: 'low' });
      await queue('b', 1);
      expect(await serveYielding(['a1'])).toEqual(['a1', 'b1', 'a1', 'a2']);
    });

    it('has no reason to if only lower priorities of its tenant wait', async () => {
      await queue('a', 2, { priority: 'high' });
      await queue('a', 1, { from: 3, priority: 'low' });
      const answers: boolean[] = [];
      await serve(async (name) => {
        answers.push(await api.store.queues.mustYield('optimize', { id: idOf(name), tenant: 'a' }));
        await api.store.redis.del(api.store.keys.yielding('optimize'));
        return undefined;
      });
      expect(answers).toEqual([true, false, false]);
    });
  });

  it('serves one entry of every tenant in each round, and positions say so', async () => {
    await queue('a', 4);
    await queue('b', 2);
    await queue('c', 3);
    const expected = ['a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', 'c3', 'a4'];
    expect(await positions(...expected)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await serve()).toEqual(expected);
  });

  it('orders entries of a tenant by priority, without putting it before other tenants', async () => {
    await queue('a', 3);
    await queue('b', 2);
    await queue('b', 2, { priority: 'high', from: 3 });
    expect(await serve()).toEqual(['a1', 'b3', 'a2', 'b4', 'a3', 'b1', 'b2']);
  });

  it('schedules the next entry of a tenant when its scheduled one is removed', async () => {
    await queue('a', 3);
    await queue('b', 2);
    expect(await api.store.queues.remove('optimize', idOf('a1'))).toBe(true);
    expect(await positions('a1', 'a2', 'b1')).toEqual([null, 1, 2]);
    expect(await serve()).toEqual(['a2', 'b1', 'a3', 'b2']);
  });

  it('does not count removed entries as served', async () => {
    await queue('a', 20);
    await queue('b', 2);
    for (let i = 1; i <= 20; i++) await api.store.queues.remove('optimize', idOf(`a${i}`));
    await queue('a', 1, { from: 21 });
    expect(await serve()).toEqual(['b1', 'a21', 'b2']);
  });

  it('keeps an entry scheduled that is tried again', async () => {
    await queue('a', 3);
    await queue('b', 3);
    let begun = 0;
    const order = await serve(async (name, attempt) => {
      if (++begun === 7) return 'stop';
      if (name === 'a1' && attempt === 1) return 'fail';
      await new Promise((resolve) => setTimeout(resolve, 400)); // a second attempt comes after a second
      return undefined;
    });
    expect(order.slice(0, 3)).toEqual(['a1', 'b1', 'a2']);
    expect(order.filter((name) => name === 'a1')).toHaveLength(2);
    expect(order.indexOf('b2')).toBeLessThanOrEqual(4);
    expect(new Set(order).size).toBe(6);
  });

  it('loses no entry when a crash comes between its two steps', async () => {
    const { redis, keys } = api.store;
    await queue('a', 2);
    await queue('b', 2);
    // As after a crash between `Queue.add` of BullMQ and `register`.
    await redis.del(...Object.values(keys.scheduler('optimize')));
    await redis.del(keys.waiting('optimize', 'a'), keys.waiting('optimize', 'b'));
    expect((await serve()).sort()).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  it('schedules for a tenant whose schedule a crash interrupted, when the next entry begins', async () => {
    const { redis, keys } = api.store;
    await queue('a', 6);
    await queue('b', 2);
    // b1 was removed, and the process died before b2 was scheduled.
    const prefix = keys.queuePrefix();
    await redis.zrem(`${prefix}:optimize:prioritized`, idOf('b1'));
    await redis.del(`${prefix}:optimize:${idOf('b1')}`);
    const order = await serve();
    expect(order.indexOf('b2')).toBeLessThanOrEqual(2);
    expect(order).toHaveLength(7);
  });

  it('registers the entries of a release without the scheduler', async () => {
    const { redis, keys, queues } = api.store;
    const old = new Queue(QUEUES.optimize, { connection: redis, prefix: keys.queuePrefix() });
    for (let i = 1; i <= 30; i++) {
      const id = newId('job');
      names.set(id, `a${i}`);
      await old.add('optimize', { id }, { jobId: id, priority: 2 });
    }
    await queue('b', 1);
    await queues.registerAll();
    expect(await positions('a1', 'b1', 'a2', 'a30')).toEqual([1, 2, 3, 31]);
    expect((await serve()).slice(0, 3)).toEqual(['a1', 'b1', 'a2']);
  });
});
