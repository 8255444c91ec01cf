import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import type { ChatReward, HttpReward, RewardBundle } from '../../src/bundles/reward-bundle.ts';
import type { ImagePipeline } from '../../src/core/evaluator.ts';
import type { Picture } from '../../src/core/picture.ts';
import { chatScorer } from '../../src/rewards/chat.ts';
import { httpScorer } from '../../src/rewards/http.ts';
import { RewardError } from '../../src/rewards/scorer.ts';
import { weighRewards } from '../../src/rewards/weigh.ts';

/** Rewards outside of the engine, against a server of this process; cards are read as the service reads them. */

type Question = { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: never };
type Reply = { status?: number; headers?: Record<string, string>; body: unknown };

let server: Server;
let url: string;
let folder: string;
let questions: Question[] = [];
let answer: (question: Question, nth: number) => Reply | Promise<Reply>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-rewards-'));
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString());
    const question = { path: request.url ?? '', headers: request.headers, body: body as never };
    questions.push(question);
    const reply = await answer(question, questions.length - 1);
    response.writeHead(reply.status ?? 200, reply.headers);
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  questions = [];
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

/** The reward of a folder with this card; its problem when it can't be used. */
async function read(card: object): Promise<RewardBundle | string> {
  const models = await mkdtemp(join(folder, 'models-'));
  await mkdir(join(models, 'mine'));
  await writeFile(join(models, 'mine', 'findery.json'), JSON.stringify({ kind: 'reward', ...card }));
  const { rewards, problems } = await readCatalog([models]);
  return problems[0]?.message ?? (rewards.find(({ name }) => name === 'mine') as RewardBundle);
}
const http = async (card: object = {}) => (await read({ type: 'http', url, ...card })) as HttpReward;
const chat = async (card: object = {}) =>
  (await read({ type: 'chat', baseUrl: `${url}/v1`, model: 'judge', ...card })) as ChatReward;

const picture: Picture = { width: 2, height: 2, pixels: new Uint8Array(12).fill(99) };
const pictures = (count: number) => Array.from({ length: count }, () => picture);
const imagesIn = ({ body }: Question) => (body as { images: unknown[] }).images.length;
const said = (content: unknown, more = {}): Reply => ({
  body: { choices: [{ message: { content, ...more } }] },
});
const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error('It went well.')),
    (error: unknown) => error as RewardError,
  );
/** Longer than an answer of this server takes. */
const later = () => sleep(150);

describe('what failed', () => {
  it('is the end of all its requests: nobody pays for answers that nobody reads', async () => {
    answer = async (_, nth) => {
      await sleep(10);
      return nth === 0 ? { status: 404, body: 'no' } : { body: { scores: [1] } };
    };
    const scorer = httpScorer(await http({ batchSize: 1, concurrency: 2 }), {});
    expect(await errorOf(scorer.score(pictures(30), 'a dog'))).toBeInstanceOf(RewardError);
    await later();
    expect(questions.length).toBeLessThanOrEqual(3);
  });

  it('is the end of the requests of the other terms', async () => {
    answer = async ({ path }) => {
      if (path === '/bad') return { status: 404, body: 'no' };
      await sleep(30);
      return { body: { scores: [1] } };
    };
    const [bad, good] = [await http({ url: `${url}/bad` }), await http({ batchSize: 1, concurrency: 1 })];
    const evaluator = weighRewards(pipelineOf(20), [bad, good].map(termOf), 'a dog', {});
    expect(await errorOf(evaluate(evaluator, 20))).toMatchObject({ message: expect.stringContaining('404') });
    await later();
    expect(questions.length).toBeLessThanOrEqual(3);
  });
});

describe('a weighted sum', () => {
  it.each([
    [1e308, 1e6],
    [-1e300, 1e6],
    [1e200, 1],
  ])('that no optimizer could use is an error: score %d, weight %d', async (score, weight) => {
    answer = () => ({ body: { scores: [score] } });
    const evaluator = weighRewards(pipelineOf(1), [{ reward: await http(), weight }], 'a dog', {});
    const error = await errorOf(evaluate(evaluator, 1));
    expect(error).toBeInstanceOf(RewardError);
    expect(error.isTransient).toBe(false);
    expect(error.message).toContain('"mine"');
  });
});

describe('headers', () => {
  const headers = { authorization: 'Bearer '.concat('$', '{KEY}') };

  it('hold what the environment has', async () => {
    answer = ({ body }) => ({ body: { scores: (body as { images: unknown[] }).images.map(() => 1) } });
    await httpScorer(await http({ headers }), { KEY: 'secret' }).score(pictures(1), 'a dog');
    expect(questions[0].headers).toMatchObject({
      authorization: 'Bearer secret',
      'content-type': 'application/json',
    });
  });

  it.each([undefined, ''])('whose variable is %j are a problem that names it', async (value) => {
    const { message } = await errorOf(
      httpScorer(await http({ headers }), { KEY: value }).score(pictures(1), 'a dog'),
    );
    expect(message).toMatch(/"mine".*environment variable KEY/);
    expect(questions).toEqual([]);
  });

  it('that no request can hold are a problem, without the secret in it and without a second try', async () => {
    const scorer = httpScorer(await http({ headers, retries: 5 }), { KEY: 'top\nsecret' });
    const error = await errorOf(scorer.score(pictures(1), 'a dog'));
    expect(error).toMatchObject({
      isTransient: false,
      message: expect.stringMatching(/"mine".*authorization/),
    });
    expect(error.message).not.toContain('secret');
  });
});

describe('messages', () => {
  it('name the reward, and of its address nothing after the path', async () => {
    const address = `${url}/score?key=hidden`;
    for (const reply of [
      { status: 400, body: 'no' },
      { body: 'x'.repeat(2_000_000) },
      { body: '{}' },
      { body: '?' },
    ]) {
      answer = () => reply;
      const { message } = await errorOf(
        httpScorer(await http({ url: address }), {}).score(pictures(1), 'a dog'),
      );
      expect(message).toContain('"mine"');
      expect(message).toContain('/score');
      expect(message).not.toContain('hidden');
    }
    expect(questions[0].path).toBe('/score?key=hidden');
  });

  it.each([
    ['{"scores": [NaN]}', /NaN/],
    ['{"scores": ["0.5"]}', /"0\.5" as the score of picture 1/],
    ['{"scores": {"0": 1}}', /instead of a list/],
    ['null', /null/],
    ['[1]', /\[1\]/],
  ])('say what came: %s', async (body, words) => {
    answer = () => ({ body });
    const error = await errorOf(httpScorer(await http(), {}).score(pictures(1), 'a dog'));
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(words) });
    expect(questions).toHaveLength(1);
  });
});

describe('patience', () => {
  it('waits as long as Retry-After says', async () => {
    const times: number[] = [];
    answer = (_, nth) => {
      times.push(performance.now());
      return nth === 0
        ? { status: 429, headers: { 'retry-after': '1' }, body: '' }
        : { body: { scores: [1] } };
    };
    expect(await httpScorer(await http(), {}).score(pictures(1), 'a dog')).toEqual([1]);
    expect(times[1] - times[0]).toBeGreaterThan(990);
    expect(times[1] - times[0]).toBeLessThan(3000);
  });

  it('ends at once with the signal, in the middle of a pause', async () => {
    answer = () => ({ status: 503, headers: { 'retry-after': '20' }, body: '' });
    const stop = new AbortController();
    const work = errorOf(httpScorer(await http(), {}).score(pictures(1), 'a dog', stop.signal));
    await later();
    const reason = new Error('enough');
    const asked = performance.now();
    stop.abort(reason);
    expect(await work).toBe(reason);
    expect(performance.now() - asked).toBeLessThan(100);
  });

  it('keeps the batches in order, whatever comes first', async () => {
    answer = async ({ body }, nth) => {
      await sleep(nth % 2 === 0 ? 60 : 1);
      return { body: { scores: (body as { images: unknown[] }).images.map((_, i) => nth * 10 + i) } };
    };
    const scores = await httpScorer(await http({ batchSize: 2, concurrency: 2 }), {}).score(
      pictures(5),
      'a dog',
    );
    expect(questions.map(imagesIn).sort()).toEqual([1, 2, 2]);
    expect(scores.map((score) => score % 10)).toEqual([0, 1, 0, 1, 0]);
  });
});

describe('a judge', () => {
  const judge = async (card: object = {}, prompt = 'a dog') =>
    (await chatScorer(await chat(card), {}).score([picture], prompt))[0];

  it.each([
    ['{"reason": "a {curly} dog", "score": 7}'],
    ['{"reason": "he said \\"}\\"", "score": 7}'],
    ['{"criteria": {"objects": 3}, "score": 7}'],
    ['{"judgement": {"score": 7, "reason": ""}}'],
    ['<think>A set {dog, grass} of things</think>\n```json\n{"reason": "fine", "score": 7}\n```'],
    [[{ type: 'text', text: '{"reason": "fine", "score": 7}' }]],
  ])('is understood: %j', async (content) => {
    answer = () => said(content);
    expect(await judge()).toBeCloseTo(0.7, 12);
    expect(questions).toHaveLength(1);
  });

  it.each([
    ['{"reason": "good", "score": "7"}', /score/],
    ['{"reason": "good", "score": 70}', /70.*0 to 10/],
    ['{{{{', /\{\{\{\{/],
    ['', /""/],
    [null, /can not help.*0 to 10/, { refusal: 'I can not help with that.' }],
  ])('is asked once more, and then told what it said: %j', async (content, words, more: object = {}) => {
    answer = () => said(content, more);
    const error = await errorOf(judge());
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(words) });
    expect(questions).toHaveLength(2);
  });

  it('gets the prompt as it stands', async () => {
    answer = () => said('{"score": 5}');
    await judge({ rubric: 'Is it "{prompt}"? Is it {prompt}?' }, "50 $& and $' and {prompt}");
    const { messages } = questions[0].body as { messages: { content: { text: string }[] }[] };
    expect(messages[1].content[0].text).toBe(
      'Is it "50 $& and $\' and {prompt}"? Is it 50 $& and $\' and {prompt}?',
    );
  });

  it.each([400, 422])('that refuses schemas with %d is asked without one, from then on', async (status) => {
    answer = ({ body }) =>
      'response_format' in body
        ? { status, body: { error: { message: "'response_format' is not supported" } } }
        : said('Well: {"reason": "fine", "score": 10}');
    const scorer = chatScorer(await chat({ concurrency: 1 }), {});
    expect(await scorer.score(pictures(3), 'a dog')).toEqual([1, 1, 1]);
    expect(questions.map(({ body }) => 'response_format' in body)).toEqual([true, false, false, false]);
  });

  it('that refuses everything fails with what it said', async () => {
    answer = () => ({ status: 400, body: { error: { message: 'no model "judge"' } } });
    expect(await errorOf(judge())).toMatchObject({ message: expect.stringMatching(/400.*no model/) });
    expect(questions).toHaveLength(2);
  });

  it('is asked at temperature 0, or at none where the card says so', async () => {
    answer = () => said('{"score": 5}');
    await judge();
    await judge({ temperature: null });
    expect(questions.map(({ body }) => (body as { temperature?: number }).temperature)).toEqual([
      0,
      undefined,
    ]);
  });

  it('keeps the query of its address', async () => {
    answer = () => said('{"score": 5}');
    await judge({ baseUrl: `${url}/deployments/judge/?api-version=2` });
    expect(questions[0].path).toBe('/deployments/judge/chat/completions?api-version=2');
  });
});

describe('a card', () => {
  it.each([
    [{ type: 'http' }, /url undefined/],
    [{ type: 'http', url: 'file:///etc/passwd' }, /http:\/\/ or https:\/\//],
    [{ type: 'http', url: 'http://me:hidden@example.com/' }, /url.*user name.*headers/],
    [{ type: 'http', url: 'http://x/', retries: 0.5 }, /retries 0\.5.*whole number from 0 to 10/],
    [{ type: 'http', url: 'http://x/', batchSize: 2.5 }, /batchSize 2\.5.*whole number from 1 to 256/],
    [{ type: 'http', url: 'http://x/', concurrency: 1.5 }, /concurrency 1\.5.*whole number from 1 to 64/],
    [
      { type: 'http', url: 'http://x/', timeoutSeconds: '30' },
      /timeoutSeconds "30".*number from 0\.1 to 3600/,
    ],
    [{ type: 'http', url: 'http://x/', headers: { 'x key': 'a' } }, /headers.*"x key"/],
    [{ type: 'http', url: 'http://x/', headers: ['x-key: a'] }, /headers.*object of texts/],
    [{ type: 'chat', baseUrl: 'http://x/' }, /model undefined/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', range: ['0', '1'] }, /range.*two numbers/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', range: [1, 0] }, /range.*two numbers/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', scale: [10, 0] }, /scale \[10,0\]/],
    [{ type: 'chat', baseUrl: 'http://x/', model: 'm', temperature: 3 }, /temperature 3.*from 0 to 2/],
    [{ type: 'jpeg-size' }, /type "jpeg-size".*graph, http or chat/],
  ])('%j can not be used', async (card, words) => {
    const problem = await read(card);
    expect(problem).toMatch(words);
    expect(problem).not.toContain('hidden');
  });
});

const termOf = (reward: RewardBundle) => ({ reward, weight: 1 });
const evaluate = (evaluator: ReturnType<typeof weighRewards>, count: number) =>
  evaluator.evaluate(
    Array.from({ length: count }, (_, index) => ({ key: { seed: 1, stream: 0, index } })),
    { reward: true, pictures: false },
  );

/** Pictures without a model: rewards see nothing else. */
function pipelineOf(count: number): ImagePipeline {
  return {
    shape: [1],
    promptEmbedding: new Float32Array(),
    evaluate: async () => pictures(count).map((picture) => ({ scores: null, picture })),
  };
}
