import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { Evaluator, ImagePipeline } from '../../src/core/evaluator.ts';
import { RewardError } from '../../src/rewards/scorer.ts';
import { withRewards } from '../../src/rewards/weighted-rewards.ts';
import { errorOf, grayPictures, RewardServer } from '../support/reward-server.ts';

let server: RewardServer;
beforeAll(async () => {
  server = await RewardServer.start();
});
afterEach(() => server.reset());
afterAll(() => server.close());

const termOf = (reward: RewardBundle) => ({ reward, weight: 1 });
const evaluate = (evaluator: Evaluator, count: number) =>
  evaluator.evaluate(
    Array.from({ length: count }, (_, index) => ({ key: { seed: 1, stream: 0, index } })),
    { reward: true, pictures: false },
  );

/** A pipeline without a model: it returns gray pictures. */
function pipelineOf(count: number): ImagePipeline {
  return {
    shape: [1],
    promptEmbedding: new Float32Array(),
    evaluate: async () => grayPictures(count).map((picture) => ({ scores: null, picture })),
  };
}

describe('a weighted sum of rewards', () => {
  it('ends the requests of all terms when one has failed', async () => {
    server.answer = async ({ path }) => {
      if (path === '/bad') return { status: 404, body: 'no' };
      await sleep(100);
      return { body: { scores: [1] } };
    };
    const [bad, good] = [
      await server.httpReward({ url: `${server.url}/bad`, batchSize: 32 }),
      await server.httpReward({ batchSize: 1, concurrency: 1 }),
    ];
    const evaluator = withRewards(pipelineOf(20), [bad, good].map(termOf), 'a dog', {});
    expect(await errorOf(evaluate(evaluator, 20))).toMatchObject({ message: expect.stringContaining('404') });
    await sleep(500);
    expect(server.requests.length).toBeLessThanOrEqual(3);
  });
});

describe('a score beyond the bound of rewards', () => {
  it.each([
    [1e308, 1e6],
    [-1e300, 1e6],
    [1e200, 1],
    [-1.000001e9, 0.001],
  ])('is an error that names the reward and the bound: score %d, weight %d', async (score, weight) => {
    server.answer = () => ({ body: { scores: [score] } });
    const evaluator = withRewards(
      pipelineOf(1),
      [{ reward: await server.httpReward(), weight }],
      'a dog',
      {},
    );
    const error = await errorOf(evaluate(evaluator, 1));
    expect(error).toBeInstanceOf(RewardError);
    expect(error.isTransient).toBe(false);
    expect(error.message).toContain('"mine"');
    expect(error.message).toContain('from -1000000000 to 1000000000');
  });

  it('leaves sums of scores within the bound alone, however large the weights', async () => {
    server.answer = () => ({ body: { scores: [-1e9] } });
    const evaluator = withRewards(
      pipelineOf(1),
      [{ reward: await server.httpReward(), weight: 1e6 }],
      'a dog',
      {},
    );
    expect(await evaluate(evaluator, 1)).toMatchObject([{ reward: -1e15, terms: [-1e9] }]);
  });
});
