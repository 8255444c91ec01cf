import { type Job, WaitingError, Worker } from 'bullmq';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import { QUEUES } from '../../src/queue/queues.ts';
import { NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { queueJob, readOk, startTestApi, type TestApi } from '../support/test-api.ts';

/** Limits of running jobs, with a worker that takes several entries and ends them on demand. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

type Entry = Job<{ id: string; tenant: string }>;
const running = new Map<string, () => void>();
let worker: Worker;

/** Takes up to six entries at the same time, as `openQueueWorker` does. */
function startWorker(): Worker {
  const { store } = api;
  const connection = store.redis.duplicate({ maxRetriesPerRequest: null });
  const giveBack = async (entry: Entry, token?: string) => {
    await store.queues.giveWay('optimize', entry.data, async () => void (await entry.moveToWait(token)));
    throw new WaitingError();
  };
  const started = new Worker<Entry['data']>(
    QUEUES.optimize,
    async (entry, token) => {
      if (!(await store.queues.begin('optimize', entry.data))) return giveBack(entry, token);
      await new Promise<void>((resolve) => running.set(entry.data.id, resolve));
      await store.queues.finish('optimize', entry.data);
    },
    {
      connection,
      prefix: store.keys.queuePrefix(),
      concurrency: 6,
    },
  );
  started.on('error', () => {});
  started.on('closed', () => connection.disconnect());
  return started;
}

const end = (id: string) => {
  running.get(id)?.();
  running.delete(id);
};
afterEach(async () => {
  const closed = worker.close(true);
  for (const id of [...running.keys()]) end(id);
  await closed;
  for (const part of ['queue', 'turns']) {
    const left = await api.store.redis.keys(`${api.config.redisPrefix}:${part}:*`);
    if (left.length > 0) await api.store.redis.del(...left);
  }
});

const holderOf = async (tenant: string, runningJobs: number | null) =>
  withHeaders(api, (await createKey(api, { tenant, limits: { ...NO_LIMITS, runningJobs } })).headers);
const queueJobs = async (holder: TestApi, count: number) => {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(String((await queueJob(holder)).id));
  return ids;
};
const expectRunning = (...ids: readonly string[]) =>
  expect.poll(() => [...running.keys()].sort(), { timeout: 15_000 }).toEqual(ids.toSorted());
/** Waits for what must not happen: a worker takes what waits within milliseconds. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

it('holds back the jobs of a tenant beyond its limit, and no jobs of others', async () => {
  const [limited, other] = [await holderOf('limited', 2), await holderOf('other', null)];
  const ids = await queueJobs(limited, 5);
  const others = await queueJobs(other, 2);
  expect((await readOk(await limited.get(`/v1/jobs/${ids[4]}`), 200)).queuePosition).toBeGreaterThan(0);
  worker = startWorker();
  await expectRunning(ids[0], ids[1], ...others);
  await settle();
  await expectRunning(ids[0], ids[1], ...others);
  expect(await readOk(await limited.get('/v1/queues'), 200)).toMatchObject({
    optimize: { waiting: 3, active: 2 },
  });
  expect((await readOk(await limited.get(`/v1/jobs/${ids[2]}`), 200)).queuePosition).toBe(1);
  expect(await api.store.queues.waits('optimize', ids[4])).toBe(true);

  end(ids[1]);
  await expectRunning(ids[0], ids[2], ...others);
  expect((await limited.post(`/v1/jobs/${ids[3]}/cancel`)).status).toBe(200);
  end(ids[0]);
  await expectRunning(ids[2], ids[4], ...others);
});

it('puts back an entry of a tenant at its limit that reached a worker all the same', async () => {
  const limited = await holderOf('again', 1);
  const [first, held] = await queueJobs(limited, 2);
  worker = startWorker();
  await expectRunning(first);
  // An entry that BullMQ offers again has no place in the fair scheduler.
  const retried = { id: newId('job'), tenant: 'again', model: 'stickers', priority: 'high' as const };
  await api.store.queues.add('optimize', retried);
  await settle();
  await expectRunning(first);
  end(first);
  await expectRunning(retried.id);
  end(retried.id);
  await expectRunning(held);
});

it('begins with the next job after a crash that came between a job and its end', async () => {
  const limited = await holderOf('crashed', 1);
  const [first, second] = await queueJobs(limited, 2);
  worker = startWorker();
  await expectRunning(first);
  const finish = api.store.queues.finish.bind(api.store.queues);
  api.store.queues.finish = async () => {};
  end(first);
  await expectRunning(second); // by the background loop of the API
  api.store.queues.finish = finish;
});

it('ends when nothing of the tenant waits and a key without one queues', async () => {
  const [limited, free] = [await holderOf('both', 1), await holderOf('both', null)];
  const ids = [...(await queueJobs(limited, 2)), ...(await queueJobs(free, 1))];
  worker = startWorker();
  await expectRunning(ids[0]);
  for (const id of ids) {
    await expectRunning(id);
    end(id);
  }
  await expectRunning();
  await expect
    .poll(() => api.store.queues.count('optimize'), { timeout: 15_000 })
    .toEqual({ waiting: 0, active: 0 });
  await expectRunning(...(await queueJobs(free, 3)));
});

it('applies to jobs that waited before there was a limit', async () => {
  const [free, limited] = [await holderOf('later', null), await holderOf('later', 1)];
  const ids = [...(await queueJobs(free, 3)), ...(await queueJobs(limited, 1))];
  worker = startWorker();
  for (const id of ids) {
    await expectRunning(id);
    await settle();
    await expectRunning(id);
    end(id);
  }
});
