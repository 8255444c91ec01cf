import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { JobEvents } from '../../src/contract/schemas/event.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import type { RewardPoint } from '../../src/contract/schemas/reward-history.ts';
import type { Sample } from '../../src/contract/schemas/sample.ts';
import { decodePolicy } from '../../src/storage/policy-file.ts';
import { type ScoringService, startScoringService, writeReward } from '../support/scoring-service.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const REQUEST: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  budget: { images: 20 },
  optimizer: { name: 'elites', batchSize: 5 },
  sampler: { steps: 2, guidanceScale: 1 },
  reportDraws: 4,
};

/** How a card names an environment variable of the worker. */
const variable = (name: string) => '$'.concat('{', name, '}');

let scorer: ScoringService;
let service: TestService;
let client: Client;
let folder: string;

beforeAll(async () => {
  scorer = await startScoringService();
  folder = await mkdtemp(join(tmpdir(), 'findery-rewards-'));
  const http = (path: string, more = {}) =>
    writeReward(folder, path.slice(1), { type: 'http', url: `${scorer.url}${path}`, retries: 0, ...more });
  const headers = { authorization: `Bearer ${variable('SCORER_TOKEN')}` };
  await http('/good', { batchSize: 3, headers, range: [-1, 1], title: 'How green it is' });
  for (const path of ['/null', '/infinite', '/count', '/text', '/nothing', '/gone', '/moved', '/huge'])
    await http(path);
  await http('/slow', { timeoutSeconds: 0.3 });
  await http('/flaky', { retries: 3 });
  await http('/dies', { batchSize: 64, timeoutSeconds: 5 });
  await http('/down');
  await writeReward(folder, 'nameless', {
    type: 'http',
    url: scorer.url,
    headers: { 'x-key': variable('NO_SUCH_KEY') },
  });
  await writeReward(folder, 'away', { type: 'http', url: 'http://127.0.0.1:2/', retries: 1 });
  for (const name of ['good', 'talkative', 'forgetful', 'refusing', 'excessive']) {
    const card = {
      type: 'chat',
      baseUrl: `${scorer.url}/chat/${name}/`,
      model: 'judge-1',
      range: [-1, 1],
      headers,
    };
    await writeReward(folder, `chat-${name}`, card);
  }
  service = await startTestService({
    FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':'),
    SCORER_TOKEN: 'secret',
  });
  client = new Client(service.url);
  await service.startWorker();
});

afterAll(async () => {
  await service?.close();
  await scorer?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function run(request: Partial<JobRequest>) {
  const job = await client.createJob({ ...REQUEST, ...request });
  const iterations: JobEvents['iteration'][] = [];
  const ended = await client.follow(job, (type, data) => {
    if (type === 'iteration') iterations.push(data as JobEvents['iteration']);
  });
  return { job: ended, iterations };
}

async function points(job: Job): Promise<RewardPoint[]> {
  const text = Buffer.from(await client.bytes(job.urls.rewards)).toString();
  return (JSON.parse(text) as { data: RewardPoint[] }).data;
}

describe('a list of rewards', () => {
  const reward = [
    { name: 'stickers-reward', weight: 1 },
    { name: 'jpeg-size', weight: 0.1 },
  ];

  it('gives their weighted sum, and every score is reported', async () => {
    const { job, iterations } = await run({ reward, samples: 2 });
    expect(job).toMatchObject({ status: 'succeeded', reward, error: null });
    const sum = (terms: Record<string, number> = {}) => terms['stickers-reward'] + 0.1 * terms['jpeg-size'];
    const data = await points(job);
    expect(data).toHaveLength(20);
    for (const { reward: total, terms } of data) {
      expect(Object.keys(terms ?? {})).toEqual(['stickers-reward', 'jpeg-size']);
      expect(total).toBeCloseTo(sum(terms), 10);
      expect(terms?.['jpeg-size']).toBeGreaterThan(0.5); // kilobytes of a picture of 64 x 64
    }
    expect(iterations.flatMap(({ terms }) => terms ?? [])).toEqual(data.map(({ terms }) => terms));
    const csv = Buffer.from(await client.bytes(`${job.urls.rewards}?format=csv`)).toString();
    expect(csv.split('\n')[0]).toBe('image,iteration,reward,smoothed,terms.stickers-reward,terms.jpeg-size');
    expect(csv.split('\n')[1].split(',').slice(4).map(Number)).toEqual(Object.values(data[0].terms ?? {}));
    const { terms, learned } = job.report ?? {};
    const means = terms as Record<string, { learned: { mean: number } }>;
    expect(learned?.mean).toBeCloseTo(
      means['stickers-reward'].learned.mean + 0.1 * means['jpeg-size'].learned.mean,
      8,
    );

    const { images } = await client.getSample(job.sampleId as string);
    for (const image of images) expect(image.reward).toBeCloseTo(sum(image.terms), 10);
    const { metadata } = decodePolicy(await client.bytes(`/v1/policies/${job.policyId}/parameters`), null);
    expect(metadata.reward).toEqual(reward);
  });

  it('of one reward with weight 1 equals that reward, byte for byte', async () => {
    const [alone, listed] = [await run({}), await run({ reward: [{ name: 'stickers-reward' }] })];
    expect(listed.job.reward).toBe('stickers-reward');
    const bytes = ({ job }: { job: Job }) => client.bytes(`/v1/policies/${job.policyId}/parameters`);
    expect(Buffer.from(await bytes(listed)).equals(Buffer.from(await bytes(alone)))).toBe(true);
    expect((await points(listed.job))[0]).not.toHaveProperty('terms');
  });

  it('may have a negative weight', async () => {
    const { job } = await run({ reward: [{ name: 'jpeg-size', weight: -1 }] });
    expect(job.status).toBe('succeeded');
    for (const { reward, terms } of await points(job)) expect(reward).toBe(-(terms?.['jpeg-size'] ?? 0));
  });

  it.each([
    [[], 400, '/reward'],
    [[{ weight: 1 }], 400, '/reward/0/name'],
    [[{ name: 'jpeg-size', weight: 'much' }], 400, '/reward/0/weight'],
    [[{ name: 'jpeg-size', wieght: 1 }], 400, '/reward/0/wieght'],
    [5, 400, '/reward'],
    [[{ name: 'jpeg-size' }, { name: 'jpeg-size' }], 422, '/reward/1/name'],
    [[{ name: 'jpeg-size', weight: 0 }], 422, '/reward'],
    [[{ name: 'stickers-reward' }, { name: 'beauty' }], 422, '/reward/1/name'],
  ])('%j is rejected', async (asked, status, pointer) => {
    const response = await fetch(`${service.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...REQUEST, reward: asked }),
    });
    const problem = (await response.json()) as { status: number; errors: { pointer: string }[] };
    expect(problem.status).toBe(status);
    expect(problem.errors.map((error) => error.pointer)).toContain(pointer);
  });
});

describe('a reward service', () => {
  it('gets pictures and prompt of a job in batches, with the key of the worker', async () => {
    const { job } = await run({ reward: 'good', reportDraws: 32 });
    expect(job).toMatchObject({ status: 'succeeded', reward: 'good', report: { draws: 32 } });
    const calls = (await scorer.calls()).filter(({ path }) => path === '/good');
    expect(calls.reduce((sum, { images }) => sum + images, 0)).toBe(20 + 64);
    expect(Math.max(...calls.map(({ images }) => images))).toBe(3);
    expect(new Set(calls.map(({ prompt, authorization }) => `${prompt}, ${authorization}`))).toEqual(
      new Set([`${REQUEST.prompt}, Bearer secret`]),
    );
  });

  it('is listed without its address', async () => {
    const { data } = (await (await fetch(`${service.url}/v1/rewards`)).json()) as {
      data: { name: string }[];
    };
    expect(data.find(({ name }) => name === 'good')).toMatchObject({
      type: 'http',
      title: 'How green it is',
      range: [-1, 1],
      reads: ['image', 'text'],
    });
    expect(JSON.stringify(data)).not.toContain(scorer.url);
  });

  it('may fail for a while', async () => {
    const { job } = await run({ reward: 'flaky' });
    expect(job).toMatchObject({ status: 'succeeded', attempts: 1 });
  });

  it('can be a term of a weighted sum', async () => {
    const { job } = await run({
      reward: [{ name: 'good', weight: 2 }, { name: 'stickers-reward' }, { name: 'jpeg-size', weight: 0.01 }],
    });
    expect(job.status).toBe('succeeded');
    for (const { reward, terms = {} } of await points(job))
      expect(reward).toBeCloseTo(2 * terms.good + terms['stickers-reward'] + 0.01 * terms['jpeg-size'], 10);
  });

  it.each([
    ['null', /"null" gave null as the score of picture 1; .*one finite number for each of the \d pictures/],
    ['infinite', /"infinite" gave (1 scores|null as the score|Infinity)/],
    ['count', /"count" gave 3 scores; .*one finite number for each/],
    ['text', /answered with "good picture!", which is not JSON/],
    ['nothing', /answered \{"score":1\}; it has to answer \{"scores"/],
    ['gone', /answered 404 .*no such scorer.*has to answer 200/],
    ['moved', /answered 302 .*has to answer 200/],
    ['huge', /more than 1000000 bytes/],
    ['nameless', /environment variable NO_SUCH_KEY, which is not set in the worker/],
  ])('"%s" fails the job at once with the reason', async (reward, detail) => {
    const { job } = await run({ reward });
    expect(job).toMatchObject({ status: 'failed', attempts: 1, policyId: null });
    expect(job.error).toMatchObject({ code: 'reward-failed', status: 502, type: '/problems/reward-failed' });
    expect(job.error?.detail).toMatch(detail);
  });

  // A job is tried four times, with pauses of 1, 2 and 4 s, so these run concurrently.
  it.concurrent.each([
    ['slow', /was asked once and gave no scores: no answer within 0\.3 s/],
    ['away', /was asked 2 times and gave no scores: no connection \(ECONNREFUSED\)/],
    ['down', /it answered 503 "out of memory"/],
  ])('"%s" fails the job after further tries', async (reward, detail) => {
    const { job } = await run({ reward });
    expect(job).toMatchObject({ status: 'failed', attempts: 4, error: { code: 'reward-failed' } });
    expect(job.error?.detail).toMatch(detail);
  });

  it.concurrent('that stops working leaves rewards, previews and a policy without a report', async () => {
    const { job } = await run({ reward: 'dies' });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'reward-failed' }, report: null });
    expect(await points(job)).toHaveLength(14);
    expect(job.previewUrl).not.toBeNull();
    const policy = await (await fetch(`${service.url}/v1/policies/${job.policyId}`)).json();
    expect(policy).toMatchObject({ jobId: job.id, report: null, imagesSpent: 14 });
    await client.bytes(`/v1/policies/${job.policyId}/parameters`);
  });

  it('scores samples, too, and fails them with the reason', async () => {
    const sample = async (reward: unknown) => {
      const response = await fetch(`${service.url}/v1/samples`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', prefer: 'wait=30' },
        body: JSON.stringify({ prompt: REQUEST.prompt, count: 2, seed: 1, steps: 2, reward }),
      });
      return (await response.json()) as Sample;
    };
    const scored = await sample([{ name: 'good', weight: 3 }]);
    expect(scored.status).toBe('succeeded');
    for (const { reward, terms } of scored.images) expect(reward).toBeCloseTo(3 * (terms?.good ?? 0), 10);
    expect(await sample('count')).toMatchObject({ status: 'failed', error: { code: 'reward-failed' } });
  });
});

describe('a language model as judge', () => {
  let plain: ReturnType<typeof run>;
  beforeAll(() => {
    plain = run({ reward: 'good', budget: { images: 5 } });
  });

  it.each(['chat-good', 'chat-talkative', 'chat-forgetful'])(
    '%s: its scores are the rewards of a job',
    async (reward) => {
      const { job } = await run({ reward, budget: { images: 5 } });
      expect(job).toMatchObject({ status: 'succeeded', reward });
      const scores = (await points(job)).map(({ reward: score }) => score);
      // It gives 5 + 5 g of [0, 10] for a picture that is g green; mapped to [-1, 1] that is g.
      const expected = (await points((await plain).job)).map(({ reward: score }) => score);
      for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i], 6);
      const [call] = (await scorer.calls()).filter(({ path }) =>
        path.startsWith(`/chat/${reward.slice(5)}/`),
      );
      expect(call).toMatchObject({
        authorization: 'Bearer secret',
        prompt: expect.stringContaining(REQUEST.prompt),
      });
    },
  );

  it.each([
    [
      'chat-refusing',
      new RegExp(
        `answered "I'm sorry, I can't judge this picture\\."; ` +
          'its answer has to be \\{"score": a number from 0 to 10',
      ),
    ],
    ['chat-excessive', /answered .*"score\\":11.*a number from 0 to 10/],
  ])('%s: the job fails with the answer in the error', async (reward, detail) => {
    const { job } = await run({ reward, budget: { images: 5 } });
    expect(job).toMatchObject({ status: 'failed', error: { code: 'reward-failed' } });
    expect(job.error?.detail).toMatch(detail);
  });
});
