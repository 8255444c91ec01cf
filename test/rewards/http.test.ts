import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { httpScorer } from '../../src/rewards/http.ts';
import { RewardError } from '../../src/rewards/scorer.ts';
import { errorOf, grayPictures, imagesIn, RewardServer } from '../support/reward-server.ts';

let server: RewardServer;
beforeAll(async () => {
  server = await RewardServer.start();
});
afterEach(() => server.reset());
afterAll(() => server.close());

describe('an http reward', () => {
  it('sends no further requests after one has failed', async () => {
    server.answer = async (_, nth) => {
      if (nth === 0) return { status: 404, body: 'no' };
      await sleep(100);
      return { body: { scores: [1] } };
    };
    const scorer = httpScorer(await server.httpReward({ batchSize: 1, concurrency: 2 }), {});
    expect(await errorOf(scorer.score(grayPictures(30), 'a dog'))).toBeInstanceOf(RewardError);
    await sleep(500);
    expect(server.requests.length).toBeLessThanOrEqual(3);
  });

  it('returns the scores in the order of the pictures, whichever batch is answered first', async () => {
    server.answer = async (request, nth) => {
      await sleep(nth % 2 === 0 ? 60 : 1);
      return { body: { scores: imagesIn(request).map((_, i) => nth * 10 + i) } };
    };
    const scores = await httpScorer(await server.httpReward({ batchSize: 2, concurrency: 2 }), {}).score(
      grayPictures(5),
      'a dog',
    );
    expect(server.requests.map((request) => imagesIn(request).length).sort()).toEqual([1, 2, 2]);
    expect(scores.map((score) => score % 10)).toEqual([0, 1, 0, 1, 0]);
  });
});
