import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { httpScorer } from '../../src/rewards/http.ts';
import { errorOf, grayPictures, RewardServer } from '../support/reward-server.ts';

let server: RewardServer;
beforeAll(async () => {
  server = await RewardServer.start();
});
afterEach(() => server.reset());
afterAll(() => server.close());

describe('a call that is retried', () => {
  it('waits as long as Retry-After requests', async () => {
    const times: number[] = [];
    server.answer = (_, nth) => {
      times.push(performance.now());
      return nth === 0
        ? { status: 429, headers: { 'retry-after': '1' }, body: '' }
        : { body: { scores: [1] } };
    };
    expect(await httpScorer(await server.httpReward(), {}).score(grayPictures(1), 'a dog')).toEqual([1]);
    expect(times[1] - times[0]).toBeGreaterThan(990);
    expect(times[1] - times[0]).toBeLessThan(3000);
  });

  it('rejects at once if its signal is aborted during a pause', async () => {
    server.answer = () => ({ status: 503, headers: { 'retry-after': '20' }, body: '' });
    const stop = new AbortController();
    const work = errorOf(
      httpScorer(await server.httpReward(), {}).score(grayPictures(1), 'a dog', stop.signal),
    );
    await sleep(150);
    const reason = new Error('enough');
    const aborted = performance.now();
    stop.abort(reason);
    expect(await work).toBe(reason);
    expect(performance.now() - aborted).toBeLessThan(100);
  });
});
