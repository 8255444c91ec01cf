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

describe('POST /v1/samples refuses', () => {
  it.each([
    ['no prompt', {}, 400, 'bad-request', ['/prompt', 'is missing']],
    ['count 0', { prompt: PROMPT, count: 0 }, 400, 'bad-request', ['/count', 'is 0', '1 to 64']],
    ['count 1e9', { prompt: PROMPT, count: 1e9 }, 400, 'bad-request', ['/count', 'is 1000000000', '1 to 64']],
    ['count 1.5', { prompt: PROMPT, count: 1.5 }, 400, 'bad-request', ['/count', 'is 1.5', 'integer']],
    ['bestOf 257', { prompt: PROMPT, bestOf: 257 }, 400, 'bad-request', ['/bestOf', '257', '1 to 256']],
    [
      'bestOf < count',
      { prompt: PROMPT, count: 4, bestOf: 2 },
      422,
      'not-possible',
      ['/bestOf', 'bestOf is 2', 'at least 4'],
    ],
    [
      'bestOf without a reward',
      { prompt: PROMPT, reward: null, count: 1, bestOf: 2 },
      422,
      'not-possible',
      ['/bestOf', 'needs a reward'],
    ],
    [
      'an unknown format',
      { prompt: PROMPT, format: 'gif' },
      400,
      'bad-request',
      ['/format', '"gif"', 'png, webp, jpeg'],
    ],
    [
      'eta with a scheduler that takes none',
      { prompt: PROMPT, eta: 1 },
      422,
      'not-possible',
      ['/eta', 'eta is 1', 'ddim'],
    ],
    [
      'a size that the model does not support',
      { prompt: PROMPT, width: 512 },
      422,
      'not-possible',
      ['/width', '512x64', '64x64'],
    ],
    [
      'an unknown scheduler',
      { prompt: PROMPT, scheduler: 'x' },
      422,
      'unknown-scheduler',
      ['/scheduler', '"x"', 'ddim'],
    ],
    ['an unknown model', { prompt: PROMPT, model: 'x' }, 422, 'unknown-model', ['/model', '"x"', 'stickers']],
    [
      'an unknown reward',
      { prompt: PROMPT, reward: 'x' },
      422,
      'unknown-reward',
      ['/reward', '"x"', 'stickers-reward'],
    ],
    [
      'a nested sampler',
      { prompt: PROMPT, sampler: {} },
      400,
      'bad-request',
      ['/sampler', 'not known', 'guidanceScale'],
    ],
  ] satisfies Row[] as Row[])('%s', async (_name, body, status, code, text) => {
    expectProblemText(await expectProblem(await api.post('/v1/samples', body), status, code), text);
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
