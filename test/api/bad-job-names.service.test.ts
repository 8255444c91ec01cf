import { afterAll, beforeAll, describe, it } from 'vitest';
import type { ProblemCode } from '../../src/contract/problem.ts';
import {
  type ExpectedText,
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

type Row = readonly [name: string, body: unknown, status: number, code: ProblemCode, text: ExpectedText];

/** Rows whose bodies get a valid prompt. */
const withPrompt = (rows: readonly Row[]): Row[] =>
  rows.map(([name, body, ...rest]) => [name, { prompt: PROMPT, ...(body as object) }, ...rest]);

const names = withPrompt([
  [
    'a report of one sample',
    { prompt: PROMPT, reportDraws: 1 },
    422,
    'not-possible',
    ['/reportDraws', '0 (no report) or 2 to 256'],
  ],
  [
    'an unknown model',
    { model: 'sdxl' },
    422,
    'unknown-model',
    ['/model', 'no model "sdxl"', 'there are: stickers', 'one of stickers'],
  ],
  [
    'an unknown reward',
    { reward: 'taste' },
    422,
    'unknown-reward',
    ['/reward', '"taste"', 'one of stickers-reward, stickers-unseen'],
  ],
  [
    'a number as the reward',
    { reward: 5 },
    400,
    'bad-request',
    ['/reward', 'is 5', 'GET /v1/rewards, or a list of 1 to 8'],
  ],
  [
    'an empty list of rewards',
    { reward: [] },
    400,
    'bad-request',
    ['/reward', 'has 0 entries', 'a list of 1 to 8'],
  ],
  [
    'nine rewards',
    { reward: Array.from({ length: 9 }, (_, i) => ({ name: `reward-${i}` })) },
    400,
    'bad-request',
    ['/reward', 'has 9 entries', 'a list of 1 to 8'],
  ],
  [
    'a weight that is out of range',
    { reward: [{ name: 'jpeg-size', weight: 1e7 }] },
    400,
    'bad-request',
    ['/reward/0/weight', 'is 10000000', '-1000000 to 1000000'],
  ],
  [
    'weights that are all 0',
    {
      reward: [
        { name: 'jpeg-size', weight: 0 },
        { name: 'stickers-reward', weight: 0 },
      ],
    },
    422,
    'not-possible',
    ['/reward', 'Every weight of the reward is 0', 'other than 0'],
  ],
  [
    'a reward twice',
    { reward: [{ name: 'jpeg-size' }, { name: 'stickers-reward' }, { name: 'jpeg-size', weight: 2 }] },
    422,
    'not-possible',
    ['/reward/2/name', '"jpeg-size" is in the list twice', 'is there already'],
  ],
  [
    'an unknown optimizer',
    { optimizer: { name: 'adam' } },
    422,
    'unknown-optimizer',
    ['/optimizer/name', '"adam"', 'gp, elites, find, genetic, snes, zero-order, best-of-n'],
  ],
  [
    'an unknown scheduler',
    { sampler: { scheduler: 'no-such-scheduler' } },
    422,
    'unknown-scheduler',
    ['/sampler/scheduler', '"no-such-scheduler"', 'ddim', /dpmsolver\+\+/],
  ],
  [
    'an unknown preset',
    { preset: 'slow' },
    400,
    'bad-request',
    ['/preset', '"slow"', 'fast, paper, thorough'],
  ],
  [
    'an unknown priority',
    { priority: 'asap' },
    400,
    'bad-request',
    ['/priority', '"asap"', 'low, normal, high'],
  ],
  [
    'a model name that is a path',
    { model: '../stickers' },
    400,
    'bad-request',
    ['/model', '../stickers', 'a name: letters'],
  ],
  [
    'a model named like a property of objects',
    { model: 'constructor' },
    422,
    'unknown-model',
    ['/model', 'constructor'],
  ],
  ['an optimizer without a name', { optimizer: {} }, 400, 'bad-request', ['/optimizer/name', 'is missing']],
  [
    'an optimizer as text',
    { optimizer: 'find' },
    400,
    'bad-request',
    ['/optimizer', '"find"', 'type object'],
  ],
  [
    'an unknown parameter',
    { optimizer: { name: 'find', temperature: 1 } },
    422,
    'not-possible',
    ['/optimizer/temperature', 'no such parameter', 'it has'],
  ],
  [
    'a parameter of another optimizer',
    { optimizer: { name: 'best-of-n', learningRate: 0.1 } },
    422,
    'not-possible',
    ['/optimizer/learningRate', 'no such parameter'],
  ],
  [
    'a parameter of the wrong type',
    { optimizer: { name: 'find', learningRate: 'fast' } },
    400,
    'bad-request',
    ['/optimizer/learningRate', '"fast"', 'type number'],
  ],
  [
    'eta with dpmsolver++',
    { sampler: { scheduler: 'dpmsolver++', eta: 0.5 } },
    422,
    'not-possible',
    ['/sampler/eta', 'eta is 0.5', /0 with dpmsolver\+\+/, 'ddim'],
  ],
  [
    'a clipSkip larger than the number of layers',
    { sampler: { clipSkip: 3 } },
    422,
    'not-possible',
    ['/sampler/clipSkip', 'clipSkip is 3', 'stickers takes 0 to 2'],
  ],
  [
    'a size of 65x64',
    { sampler: { width: 65, height: 64 } },
    422,
    'not-possible',
    ['/sampler/width', '65x64', 'it makes 64x64'],
  ],
  [
    'a size of 512x512',
    { sampler: { width: 512, height: 512 } },
    422,
    'not-possible',
    ['/sampler/width', '512x512', '64x64'],
  ],
  [
    'a size of 64x72',
    { sampler: { height: 72 } },
    422,
    'not-possible',
    ['/sampler/height', '64x72', '64x64'],
  ],
  [
    'an unknown field',
    { promt: 'x' },
    400,
    'bad-request',
    ['/promt', 'not known here', 'prompt, negativePrompt'],
  ],
  [
    'an unknown nested field',
    { sampler: { cfg: 7 } },
    400,
    'bad-request',
    ['/sampler/cfg', 'not known here', 'guidanceScale'],
  ],
  ['metadata as a list', { metadata: [] }, 400, 'bad-request', ['/metadata', /\[\]/, 'type object']],
  [
    '17 pairs of metadata',
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ''])) },
    400,
    'bad-request',
    ['/metadata', '17', '16'],
  ],
  ...['', 'a b', 'ä', 'a'.repeat(65)].map(
    (key): Row => [
      `the metadata key ${JSON.stringify(key).slice(0, 12)}`,
      { metadata: { [key]: 'v' } },
      400,
      'bad-request',
      [`/metadata/${key}`, '1-64 letters'],
    ],
  ),
  [
    'a metadata value that is not text',
    { metadata: { team: 7 } },
    400,
    'bad-request',
    ['/metadata/team', 'is 7;', 'type string'],
  ],
  [
    'a metadata value of 513 characters',
    { metadata: { team: 'v'.repeat(513) } },
    400,
    'bad-request',
    ['/metadata/team', '513 characters', '512'],
  ],
]);

describe('POST /v1/jobs refuses', () => {
  it.each(names)('%s', async (_name, body, status, code, text) => {
    expectProblemText(await expectProblem(await api.post('/v1/jobs', body), status, code), text);
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
