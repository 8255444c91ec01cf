import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventNames } from '../support/job-state.ts';
import { queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

const status = (name: string) => [{ type: 'status', data: { status: name } }];

describe('a change of a record', () => {
  it('that a connection sends twice is made once', async () => {
    const { id } = await queueJob(api);
    const { jobs, redis } = api.store;
    expect(await jobs.change(id, { set: {} })).toBe('done'); // defines the command
    // `defineCommand` added it, so the type of the connection does not have it.
    const commands = redis as unknown as Record<string, (...parameters: string[]) => Promise<string>>;
    const command = 'findery:records/commit';
    const commit = commands[command];
    commands[command] = async (...parameters) => {
      await commit.apply(redis, parameters);
      return commit.apply(redis, parameters);
    };
    onTestFinished(() => {
      commands[command] = commit;
    });
    const start = { set: { status: 'running' as const }, events: status('running'), newLeaseToken: 'a' };
    expect(await jobs.change(id, start)).toBe('done');
    const end = {
      set: { status: 'succeeded' as const },
      events: status('succeeded'),
      leaseToken: 'a',
      statuses: ['running'],
    };
    expect(await jobs.change(id, end)).toBe('done');
    expect(await eventNames(api, id)).toEqual(['queued', 'running', 'succeeded']);
  });

  it('with a lease token is refused once another worker holds the lease', async () => {
    const { id } = await queueJob(api);
    const { jobs } = api.store;
    await jobs.change(id, { set: { status: 'running' }, newLeaseToken: 'first' });
    await jobs.change(id, { set: { attempts: 2 }, newLeaseToken: 'second' });
    expect(await jobs.change(id, { set: { attempts: 9 }, leaseToken: 'first' })).toBe('not-owner');
    expect(await jobs.change(id, { set: { attempts: 3 }, leaseToken: 'second' })).toBe('done');
    expect(await jobs.get(id)).toMatchObject({ attempts: 3, status: 'running' });
  });

  it('is refused when the status or an expected property is another one', async () => {
    const { id } = await queueJob(api);
    const { jobs } = api.store;
    expect(await jobs.change(id, { set: { attempts: 9 }, statuses: ['running'] })).toBe('wrong-status');
    await jobs.change(id, { set: { pauseRequested: true } });
    const expected = { pauseRequested: false };
    expect(await jobs.change(id, { set: { attempts: 9 }, expected })).toBe('wrong-status');
    expect(await jobs.get(id)).toMatchObject({ attempts: 0, pauseRequested: true });
    expect(await jobs.change('job_missing', { set: { attempts: 9 } })).toBe('missing');
  });

  it('replaces the rewards from its offset on', async () => {
    const { id } = await queueJob(api);
    const { jobs } = api.store;
    await jobs.change(id, { rewards: { offset: 0, iteration: 1, values: [1, 2] } });
    await jobs.change(id, { rewards: { offset: 2, iteration: 2, values: [3, 4] } });
    await jobs.change(id, { rewards: { offset: 2, iteration: 2, values: [5], terms: [[6, 7]] } });
    expect((await Array.fromAsync(jobs.rewardPages(id))).flat()).toEqual([
      { iteration: 1, reward: 1, terms: [] },
      { iteration: 1, reward: 2, terms: [] },
      { iteration: 2, reward: 5, terms: [6, 7] },
    ]);
  });
});
