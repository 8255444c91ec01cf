import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { httpScorer } from '../../src/rewards/http.ts';
import { errorOf, grayPictures, imagesIn, RewardServer } from '../support/reward-server.ts';

let server: RewardServer;
beforeAll(async () => {
  server = await RewardServer.start();
});
afterEach(() => server.reset());
afterAll(() => server.close());

describe('headers of a card', () => {
  const headers = { authorization: 'Bearer '.concat('$', '{KEY}') };

  it('get the values of environment variables', async () => {
    server.answer = (request) => ({ body: { scores: imagesIn(request).map(() => 1) } });
    await httpScorer(await server.httpReward({ headers }), { KEY: 'secret' }).score(grayPictures(1), 'a dog');
    expect(server.requests[0].headers).toMatchObject({
      authorization: 'Bearer secret',
      'content-type': 'application/json',
    });
  });

  it.each([undefined, ''])('are an error that names the variable if it is %j', async (value) => {
    const { message } = await errorOf(
      httpScorer(await server.httpReward({ headers }), { KEY: value }).score(grayPictures(1), 'a dog'),
    );
    expect(message).toMatch(/"mine".*environment variable KEY/);
    expect(server.requests).toEqual([]);
  });

  it('are an error without the secret and without a retry if their value is not valid', async () => {
    const scorer = httpScorer(await server.httpReward({ headers, retries: 5 }), { KEY: 'top\nsecret' });
    const error = await errorOf(scorer.score(grayPictures(1), 'a dog'));
    expect(error).toMatchObject({
      isTransient: false,
      message: expect.stringMatching(/"mine".*authorization/),
    });
    expect(error.message).not.toContain('secret');
  });
});

describe('the error message', () => {
  it('names the reward and its address without the query', async () => {
    const address = `${server.url}/score?key=hidden`;
    for (const reply of [
      { status: 400, body: 'no' },
      { body: 'x'.repeat(2_000_000) },
      { body: '{}' },
      { body: '?' },
    ]) {
      server.answer = () => reply;
      const { message } = await errorOf(
        httpScorer(await server.httpReward({ url: address }), {}).score(grayPictures(1), 'a dog'),
      );
      expect(message).toContain('"mine"');
      expect(message).toContain('/score');
      expect(message).not.toContain('hidden');
    }
    expect(server.requests[0].path).toBe('/score?key=hidden');
  });

  it.each([
    ['{"scores": [NaN]}', /NaN/],
    ['{"scores": ["0.5"]}', /"0\.5" as the score of picture 1/],
    ['{"scores": {"0": 1}}', /instead of a list/],
    ['null', /null/],
    ['[1]', /\[1\]/],
  ])('quotes the answer %s', async (body, words) => {
    server.answer = () => ({ body });
    const error = await errorOf(httpScorer(await server.httpReward(), {}).score(grayPictures(1), 'a dog'));
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(words) });
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    [301, '/score/', /301 \(a redirect to http:\/\/127\.0\.0\.1:\d+\/score\/\);.*not followed/],
    [307, 'https://user:secret@example.com/v2?key=1', /307 \(a redirect to https:\/\/example\.com\/v2\);/],
    [302, undefined, /302 \(a redirect without an address\)/],
  ])('says where the redirect %d to %s leads', async (status, location, words) => {
    server.answer = () => ({
      status,
      headers: (location === undefined ? {} : { location }) as Record<string, string>,
      body: '',
    });
    const error = await errorOf(httpScorer(await server.httpReward(), {}).score(grayPictures(1), 'a dog'));
    expect(error).toMatchObject({ isTransient: false, status, message: expect.stringMatching(words) });
    expect(error.message).not.toContain('secret');
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    [{ error: { message: 'too dark' } }],
    [{ error: 'too dark' }],
    [{ detail: 'too dark' }],
    [{ message: 'too dark' }],
  ])('quotes the message of %j', async (body) => {
    server.answer = () => ({ status: 418, body });
    const { message } = await errorOf(
      httpScorer(await server.httpReward(), {}).score(grayPictures(1), 'a dog'),
    );
    expect(message).toContain('answered 418 "too dark"');
  });
});
