import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chatScorer } from '../../src/rewards/chat.ts';
import { errorOf, grayPictures, type RewardReply, RewardServer } from '../support/reward-server.ts';

let server: RewardServer;
beforeAll(async () => {
  server = await RewardServer.start();
});
afterEach(() => server.reset());
afterAll(() => server.close());

/** An answer of a chat service. */
const chatReply = (content: unknown, more = {}): RewardReply => ({
  body: { choices: [{ message: { content, ...more } }] },
});

describe('a judge', () => {
  const judge = async (card: object = {}, prompt = 'a dog') =>
    (await chatScorer(await server.chatReward(card), {}).score(grayPictures(1), prompt))[0];

  it.each([
    ['{"reason": "a {curly} dog", "score": 7}'],
    ['{"reason": "he said \\"}\\"", "score": 7}'],
    ['{"criteria": {"objects": 3}, "score": 7}'],
    ['{"judgement": {"score": 7, "reason": ""}}'],
    ['<think>A set {dog, grass} of things</think>\n```json\n{"reason": "fine", "score": 7}\n```'],
    [[{ type: 'text', text: '{"reason": "fine", "score": 7}' }]],
  ])('may answer with %j', async (content) => {
    server.answer = () => chatReply(content);
    expect(await judge()).toBeCloseTo(0.7, 12);
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ['{"reason": "good", "score": "7"}', /score/],
    ['{"reason": "good", "score": 70}', /70.*0 to 10/],
    ['{{{{', /\{\{\{\{/],
    ['', /""/],
    [null, /can not help.*0 to 10/, { refusal: 'I can not help with that.' }],
  ])('is asked once more, and then quoted in the error: %j', async (content, words, more: object = {}) => {
    server.answer = () => chatReply(content, more);
    const error = await errorOf(judge());
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(words) });
    expect(server.requests).toHaveLength(2);
  });

  it('gets the prompt without changes', async () => {
    server.answer = () => chatReply('{"score": 5}');
    await judge({ rubric: 'Is it "{prompt}"? Is it {prompt}?' }, "50 $& and $' and {prompt}");
    const { messages } = server.requests[0].body as { messages: { content: { text: string }[] }[] };
    expect(messages[1].content[0].text).toBe(
      'Is it "50 $& and $\' and {prompt}"? Is it 50 $& and $\' and {prompt}?',
    );
  });

  it.each([400, 422])('that refuses the schema with %d gets no schema from then on', async (status) => {
    server.answer = ({ body }) =>
      'response_format' in body
        ? { status, body: { error: { message: "'response_format' is not supported" } } }
        : chatReply('Well: {"reason": "fine", "score": 10}');
    const scorer = chatScorer(await server.chatReward({ concurrency: 1 }), {});
    expect(await scorer.score(grayPictures(3), 'a dog')).toEqual([1, 1, 1]);
    expect(server.requests.map(({ body }) => 'response_format' in body)).toEqual([true, false, false, false]);
  });

  it('that refuses every request fails with its answer in the error', async () => {
    server.answer = () => ({ status: 400, body: { error: { message: 'no model "judge"' } } });
    expect(await errorOf(judge())).toMatchObject({ message: expect.stringMatching(/400.*no model/) });
    expect(server.requests).toHaveLength(2);
  });

  it('gets temperature 0, or none if the card has null', async () => {
    server.answer = () => chatReply('{"score": 5}');
    await judge();
    await judge({ temperature: null });
    expect(server.requests.map(({ body }) => (body as { temperature?: number }).temperature)).toEqual([
      0,
      undefined,
    ]);
  });

  it('is called at its base address with the query unchanged', async () => {
    server.answer = () => chatReply('{"score": 5}');
    await judge({ baseUrl: `${server.url}/deployments/judge/?api-version=2` });
    expect(server.requests[0].path).toBe('/deployments/judge/chat/completions?api-version=2');
  });
});
