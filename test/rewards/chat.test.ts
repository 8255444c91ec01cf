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

  it.each([
    ['temperature', 400, "Unsupported value: 'temperature' does not support 0 with this model."],
    ['response_format', 404, 'No endpoints found that support response_format'],
    ['max_tokens', 400, "Use 'max_completion_tokens' instead of 'max_tokens'."],
  ])('that refuses %s with %d gets it no more', async (field, status, message) => {
    server.answer = ({ body }) =>
      field in body ? { status, body: { error: { message } } } : chatReply('{"score": 10}');
    const scorer = chatScorer(await server.chatReward({ concurrency: 1, maxTokens: 300 }), {});
    expect(await scorer.score(grayPictures(3), 'a dog')).toEqual([1, 1, 1]);
    expect(server.requests.map(({ body }) => field in body)).toEqual([true, false, false, false]);
    const { body } = server.requests[3];
    const rest = ['temperature', 'response_format', 'max_tokens'].filter((name) => name !== field);
    expect(Object.keys(body)).toEqual(expect.arrayContaining(rest));
    expect(body.max_completion_tokens).toBe(field === 'max_tokens' ? 300 : undefined);
  });

  it('that answers a schema with 500 is asked without one after the retries', async () => {
    server.answer = ({ body }) =>
      'response_format' in body ? { status: 500, body: 'oops' } : chatReply('{"score": 10}');
    expect(await judge({ retries: 1 })).toBe(1);
    expect(server.requests.map(({ body }) => 'response_format' in body)).toEqual([true, true, false]);
  });

  it('keeps the schema if the request was refused for another reason', async () => {
    server.answer = ({ body }, index) =>
      index < 2
        ? { status: 400, body: { error: { message: 'the picture is too large' } } }
        : chatReply('response_format' in body ? '{"score": 10}' : '{"score": 0}');
    const scorer = chatScorer(await server.chatReward(), {});
    expect(await errorOf(scorer.score(grayPictures(1), 'a dog'))).toMatchObject({
      message: expect.stringMatching(/picture is too large.*"temperature": null/),
    });
    expect(await scorer.score(grayPictures(1), 'a dog')).toEqual([1]);
  });

  it('whose answer is cut hears of maxTokens', async () => {
    server.answer = () => ({
      body: {
        choices: [{ message: { content: '{"reason": "no va' }, finish_reason: 'length' }],
        usage: { completion_tokens: 16 },
      },
    });
    const { message } = await errorOf(judge({ maxTokens: 16 }));
    expect(message).toMatch(/cut after 16 tokens.*maxTokens.*now 16/);
    expect(server.requests[0].body.max_tokens).toBe(16);
  });

  it('that gives reasoning alone fails with a sentence about it', async () => {
    server.answer = () => chatReply(null, { reasoning_content: 'Perhaps {"score": 10}' });
    expect((await errorOf(judge())).message).toMatch(/reasoning alone/);
  });

  it.each([
    [{ error: { code: 429, message: 'slow down' } }],
    [{ error: { code: '503' }, choices: [] }],
    [{ error: 'the model is loading' }],
    [{ choices: [{ error: { code: 502 }, finish_reason: 'error', message: { content: '' } }] }],
    [{ object: 'error', code: 50001, message: 'Internal Server Error' }],
  ])('that answers 200 with %j is tried again', async (body) => {
    server.answer = (_, index) => (index === 0 ? { body } : chatReply('{"score": 10}'));
    expect(await judge({ retries: 1 })).toBe(1);
  });

  it('that answers 200 with an error that stays fails with it', async () => {
    server.answer = () => ({ body: { error: { code: 401, message: 'no such key' } } });
    const error = await errorOf(judge({ retries: 3 }));
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(/200.*no such key/) });
    expect(server.requests).toHaveLength(1);
  });

  it('may get several pictures in one request', async () => {
    server.answer = ({ body }) => {
      const { messages } = body as { messages: { content: { type: string }[] }[] };
      const images = messages[1].content.filter(({ type }) => type === 'image_url').length;
      return chatReply(
        images === 1
          ? '{"score": 5}'
          : JSON.stringify({ judgements: Array.from({ length: images }, (_, i) => ({ score: i })) }),
      );
    };
    const scorer = chatScorer(await server.chatReward({ batchSize: 3 }), {});
    expect(await scorer.score(grayPictures(4), 'a dog')).toEqual([0, 0.1, 0.2, 0.5]);
    expect(server.requests).toHaveLength(2);
  });

  it('that gives too few scores for its pictures fails', async () => {
    server.answer = () => chatReply('{"judgements": [{"score": 5}]}');
    const scorer = chatScorer(await server.chatReward({ batchSize: 2 }), {});
    const { message } = await errorOf(scorer.score(grayPictures(2), 'a dog'));
    expect(message).toMatch(/judgements.*2 entries/);
  });

  it('that refuses every request fails with its answer in the error', async () => {
    server.answer = () => ({ status: 400, body: { error: { message: 'no model "judge"' } } });
    expect(await errorOf(judge())).toMatchObject({ message: expect.stringMatching(/400.*no model/) });
    expect(server.requests).toHaveLength(2);
  });

  describe('by token probabilities', () => {
    const card = { answer: 'yes-probability' };
    const logprobs = (...positions: [string, number][][]) => ({
      content: positions.map((tokens) => ({
        token: tokens[0][0],
        logprob: Math.log(tokens[0][1]),
        top_logprobs: tokens.map(([token, probability]) => ({ token, logprob: Math.log(probability) })),
      })),
    });
    const reply = (logprobs: unknown) => ({ body: { choices: [{ message: { content: 'Yes' }, logprobs }] } });

    it.each([
      [
        [
          [
            ['Yes', 0.5],
            ['No', 0.2],
            [' yes', 0.25],
          ],
        ],
        0.75,
      ],
      [
        [
          [
            ['No', 0.9],
            ['Maybe', 0.1],
          ],
        ],
        0,
      ],
      [
        [
          [['Well', 1]],
          [
            ['No', 0.6],
            ['Yes', 0.4],
          ],
        ],
        0.4,
      ],
    ] as [[string, number][][], number][])('%j scores %d', async (positions, score) => {
      server.answer = () => reply(logprobs(...positions));
      expect(await judge(card)).toBeCloseTo(score, 12);
      expect(server.requests[0].body).toMatchObject({ logprobs: true, top_logprobs: 20, max_tokens: 1 });
      expect(server.requests[0].body).not.toHaveProperty('response_format');
    });

    it.each([
      [null, /no token probabilities/],
      [logprobs([['Maybe', 1]]), /no token is near a Yes or No/],
    ])('%j fails with a sentence', async (probabilities, words) => {
      server.answer = () => reply(probabilities);
      expect((await errorOf(judge(card))).message).toMatch(words);
    });
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
