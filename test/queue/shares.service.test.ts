import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type SharedEvaluation, Shares } from '../../src/queue/shares.ts';
import { RedisServers } from '../support/redis-servers.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

/** Shares of evaluations in a real Redis, without workers. */
const servers = new RedisServers(); // one of its own, which a test fills
let api: TestApi;
let shares: Shares;
const opened: SharedEvaluation[] = [];

beforeAll(async () => {
  api = await startTestApi({ redisUrl: (await servers.start()).url });
  shares = new Shares(api.store.redis, api.store.keys);
});
afterAll(async () => {
  await api.close();
  await servers.close();
});
afterEach(async () => {
  for (const { jobId, evaluation } of opened.splice(0)) await shares.close(jobId, evaluation);
  expect(await keysOfShares()).toEqual([]);
});

const keysOfShares = () => api.store.redis.keys(`${api.store.keys.openShares()}*`);

/** Offers an evaluation of a new job, which a worker has, in four shares. */
async function open(changes: Partial<SharedEvaluation> = {}): Promise<SharedEvaluation> {
  return openFor((await queueJob(api)).id, changes);
}

async function openFor(id: string, changes: Partial<SharedEvaluation> = {}): Promise<SharedEvaluation> {
  await api.store.jobs.change(id, { set: { status: 'running' }, newLeaseToken: 'lease' });
  const evaluation: SharedEvaluation = {
    jobId: id,
    tenant: 'default',
    evaluation: `evaluation of ${id}`,
    leaseToken: 'lease',
    kind: 'cpu',
    maxHelpers: 3,
    coordinator: 'boss',
    tasks: ['', '{"task":1}', '{"task":2}', '{"task":3}'],
    ...changes,
  };
  opened.push(evaluation);
  expect(await shares.open(evaluation)).toBe(true);
  return evaluation;
}

const take = (helper: string, excluded: readonly string[] = []) => shares.take(helper, 'cpu', excluded);

/** Takes a share that must be there. */
async function takeOne(helper: string) {
  const share = await take(helper);
  if (!share) throw new Error(`There is no share for ${helper}.`);
  return share;
}

const next = (of: SharedEvaluation, finished: number | null = null, maxAgeMs = 60_000) =>
  shares.next(of, { finished, maxAgeMs });

describe('shares', () => {
  it('go one by one to the coordinator, which has the first, and to helpers', async () => {
    const job = await open();
    const first = await takeOne('a');
    expect(first).toEqual({
      jobId: job.jobId,
      evaluation: job.evaluation,
      index: 1,
      task: '{"task":1}',
    });
    expect(await next(job, 0)).toEqual({ kind: 'taken', index: 2 });
    expect(await takeOne('b')).toMatchObject({ index: 3, task: '{"task":3}' });
    expect(await take('c')).toBeNull();
    expect(await next(job, 2)).toEqual({ kind: 'wait', milliseconds: expect.any(Number) });
    expect(await shares.finish(first, 'a', '{"rewards":[1]}')).toBe(true);
    expect(await shares.results(job.jobId, job.evaluation, [0, 1, 2, 3])).toEqual([
      '',
      '{"rewards":[1]}',
      '',
      null,
    ]);
  });

  it('are all done when each has a result', async () => {
    const job = await open({ tasks: ['', '{}'] });
    expect(await shares.finish(await takeOne('a'), 'a', '{}')).toBe(true);
    expect(await next(job, 0)).toEqual({ kind: 'ended' });
  });

  it('are given out again when their helper is late; the first result counts', async () => {
    const job = await open({ tasks: ['', '{}', '{}'] });
    const [late, later] = [await takeOne('late'), await takeOne('later')];
    await sleep(20);
    // The coordinator takes the oldest, and the other is free again.
    expect(await next(job, 0, 10)).toEqual({ kind: 'taken', index: late.index });
    expect(await takeOne('c')).toMatchObject({ index: later.index });
    expect(await shares.finish(late, 'late', '{"of":"late"}')).toBe(true);
    expect(await shares.finish(later, 'later', '{"of":"later"}')).toBe(true);
    expect(await shares.finish(later, 'c', '{"of":"c"}')).toBe(false);
    expect(await next(job, late.index)).toEqual({ kind: 'ended' });
    expect(await shares.results(job.jobId, job.evaluation, [1, 2])).toEqual([
      '{"of":"late"}',
      '{"of":"later"}',
    ]);
  });

  it('are not taken from helpers that are in time', async () => {
    const job = await open({ tasks: ['', '{}'] });
    await takeOne('a');
    const answer = await next(job, 0, 60_000);
    expect(answer).toEqual({ kind: 'wait', milliseconds: expect.any(Number) });
    expect(answer.kind === 'wait' && answer.milliseconds).toBeGreaterThan(50_000);
  });

  it('that kill their helpers are given to two at most', async () => {
    const job = await open({ tasks: ['', '{}', '{}'] });
    await shares.giveBack(await takeOne('a'), 'a', { mayRetry: true });
    const again = await takeOne('b');
    expect(again.index).toBe(1);
    await shares.giveBack(again, 'b', { mayRetry: true });
    expect(await takeOne('c')).toMatchObject({ index: 2 });
    expect(await take('d')).toBeNull();
    expect(await next(job, 0)).toEqual({ kind: 'taken', index: 1 });
  });

  it('that a helper could not evaluate are left to the coordinator', async () => {
    const job = await open({ tasks: ['', '{}'] });
    await shares.giveBack(await takeOne('a'), 'a', { mayRetry: false });
    expect(await take('b')).toBeNull();
    expect(await next(job, 0)).toEqual({ kind: 'taken', index: 1 });
  });

  it('that another helper has by now are not given back', async () => {
    const job = await open({ tasks: ['', '{}', '{}'] });
    const [, late] = [await takeOne('a'), await takeOne('late')];
    await sleep(20);
    await next(job, 0, 10);
    expect(await takeOne('b')).toMatchObject({ index: late.index });
    await shares.giveBack(late, 'late', { mayRetry: true });
    expect(await next(job)).toMatchObject({ kind: 'wait' });
  });
});

describe('helpers', () => {
  it('are no more than the job asks for', async () => {
    const job = await open({ maxHelpers: 1 });
    const share = await takeOne('a');
    expect(await take('b')).toBeNull();
    await shares.finish(share, 'a', '{}');
    expect(await takeOne('b')).toMatchObject({ jobId: job.jobId, index: 2 });
  });

  it('take no share of a job whose worker is of another kind, or that they exclude', async () => {
    const { jobId } = await open();
    expect(await shares.take('a', 'cuda', [])).toBeNull();
    expect(await take('a', [jobId])).toBeNull();
    expect(await takeOne('a')).toMatchObject({ jobId });
  });

  it('serve tenants equally, and the jobs of one tenant in turn', async () => {
    const [first, second] = [await open({ tenant: 'many' }), await open({ tenant: 'many' })];
    const single = await open({ tenant: 'one' });
    const order: string[] = [];
    for (const helper of ['a', 'b', 'c', 'd', 'e', 'f']) order.push((await takeOne(helper)).jobId);
    expect(order).toEqual([first.jobId, single.jobId, second.jobId, single.jobId, first.jobId, single.jobId]);
  });
});

describe('an evaluation', () => {
  it('is not opened by a worker that has lost the job', async () => {
    const job = await open();
    await api.store.jobs.change(job.jobId, { newLeaseToken: 'next' });
    const successor = { ...job, leaseToken: 'next', evaluation: 'of the successor' };
    expect(await shares.open(successor)).toBe(true);
    opened.push(successor);
    expect(await shares.open({ ...job, evaluation: 'too late' })).toBe(false);
    // What the first worker and its helpers still do changes nothing.
    expect(await next(job, 0)).toEqual({ kind: 'ended' });
    expect(await shares.finish({ ...job, index: 1, task: '' }, 'a', '{}')).toBe(false);
    await shares.close(job.jobId, job.evaluation);
    expect(await shares.results(job.jobId, job.evaluation, [1])).toBeNull();
    expect(await takeOne('a')).toMatchObject({ evaluation: successor.evaluation, index: 1 });
  });

  it('is forgotten by Redis a minute after its coordinator died', async () => {
    const { jobId } = await open();
    await takeOne('a');
    await shares.next(opened[0], { finished: 0, maxAgeMs: 1000 });
    for (const key of await keysOfShares()) {
      const left = await api.store.redis.pttl(key);
      expect(left).toBeGreaterThan(50_000);
      expect(left).toBeLessThanOrEqual(60_000);
    }
    await api.store.redis.del(api.store.keys.shares(jobId)); // as if it had expired
    expect(await take('b')).toBeNull();
    expect(await keysOfShares()).toEqual([]);
  });

  it('goes on in a full Redis, without helpers', async () => {
    const { id } = await queueJob(api); // a full Redis takes no new job
    await api.store.redis.config('SET', 'maxmemory', '1');
    const job = await openFor(id);
    await expect(take('a')).rejects.toThrow('OOM');
    expect(await next(job, 0)).toEqual({ kind: 'taken', index: 1 });
    await shares.close(job.jobId, job.evaluation);
    await api.store.redis.config('SET', 'maxmemory', '0');
  });
});
