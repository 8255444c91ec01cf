import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/contract/problem.ts';
import {
  type ExpectedText,
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  readOk,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

type Row = readonly [name: string, body: unknown, status: number, code: ProblemCode, text: ExpectedText];

const prompts: Row[] = [
  ['that is missing', {}, 400, 'bad-request', ['/prompt', 'is missing']],
  ['that is empty', { prompt: '' }, 400, 'bad-request', ['/prompt', '""', 'at least one visible character']],
  [
    'of only spaces',
    { prompt: ' \u2003 ' },
    400,
    'bad-request',
    ['/prompt', 'at least one visible character'],
  ],
  [
    'of 2,001 characters',
    { prompt: 'a'.repeat(2001) },
    400,
    'bad-request',
    ['/prompt', '(2001 characters)', 'at most 2000 characters'],
  ],
  ...[42, null, true, [], {}].map(
    (prompt): Row => [
      JSON.stringify(prompt),
      { prompt },
      400,
      'bad-request',
      ['/prompt', `is ${JSON.stringify(prompt)};`, 'takes text'],
    ],
  ),
  ...['\u0000', '\u0007', '\u000b', '\u001b', '\u007f', '\u0085'].map(
    (character): Row => [
      `with the control character ${JSON.stringify(character)}`,
      { prompt: `a${character}dog` },
      400,
      'bad-request',
      ['/prompt', 'dog', 'no control characters'],
    ],
  ),
  ...['\ud800', '\udc00', 'a\ud83d dog'].map(
    (prompt): Row => [
      `with half of a surrogate pair ${JSON.stringify(prompt)}`,
      { prompt },
      400,
      'bad-request',
      ['/prompt', /\\ud/, 'no control characters'],
    ],
  ),
  [
    'that is negative and has a control character',
    { prompt: PROMPT, negativePrompt: 'a\u0007' },
    400,
    'bad-request',
    ['/negativePrompt', 'no control characters'],
  ],
];

/**
 * Numbers that are out of range or of the wrong type, with the range that the problem must name.
 */
const outOfRange: readonly (readonly [path: string, values: readonly unknown[], accepts: RegExp])[] = [
  ['budget.images', [0, -1, 1.5, 100_001, 1e308], /1 to 100000|type integer/],
  ['budget.images', ['150', null, []], /type integer/],
  ['budget.seconds', [0, -1, 1e9], /more than 0 to 604800/],
  ['budget.targetReward', [1e7, '0.5'], /-1000000 to 1000000|type number/],
  ['budget.patience', [0, 2.5, 1e12], /1 to 100000|type integer/],
  ['sampler.steps', [0, -12, 12.5, 1001, 1e308], /1 to 1000|type integer/],
  ['sampler.guidanceScale', [-1, 101, 1e308, '4'], /0 to 100|type number/],
  ['sampler.eta', [-0.1, 1.01], /0 to 1/],
  ['sampler.width', [0, -64, 64.5, 1e9], /8 to 8192|type integer/],
  ['sampler.height', [0, 1e9], /8 to 8192/],
  ['seed', [-1, 1.5, 2 ** 53, '7'], /0 to 9007199254740991|type integer/],
  ['samples', [-1, 1.5, 65, 1e6], /0 to 64|type integer/],
  ['reportDraws', [-1, 1.5, 257], /0 to 256|type integer/],
  ['parallelism', [0, -1, 1.5, 65, '2', null], /1 to 64|type integer/],
];

const ranges: Row[] = outOfRange.flatMap(([path, values, accepts]) =>
  values.map((value): Row => {
    const names = path.split('.');
    const field = names.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);
    return [
      `${path} ${JSON.stringify(value)}`,
      { prompt: PROMPT, ...(field as object) },
      400,
      'bad-request',
      [`/${names.join('/')}`, JSON.stringify(value), accepts],
    ];
  }),
);

describe('POST /v1/jobs refuses a prompt', () => {
  it.each(prompts)('%s', async (_name, body, status, code, text) => {
    expectProblemText(await expectProblem(await api.post('/v1/jobs', body), status, code), text);
  });
});

describe('POST /v1/jobs refuses a number', () => {
  it.each(ranges)('%s', async (_name, body, status, code, text) => {
    expectProblemText(await expectProblem(await api.post('/v1/jobs', body), status, code), text);
  });

  it('outside the range of an optimizer parameter in GET /v1/optimizers', async () => {
    const { data } = (await readOk(await api.get('/v1/optimizers'), 200)) as {
      data: {
        name: string;
        parameters: Record<string, { type: string; minimum: number; maximum: number }>;
      }[];
    };
    for (const { name, parameters } of data) {
      for (const [parameter, { type, minimum, maximum }] of Object.entries(parameters)) {
        const values =
          type === 'boolean'
            ? [3]
            : [minimum - 1, maximum * 2 + 1, ...(type === 'integer' ? [1.5] : []), true];
        for (const value of values) {
          const response = await api.post('/v1/jobs', {
            prompt: PROMPT,
            optimizer: { name, [parameter]: value },
          });
          const accepts = type === 'boolean' ? 'true or false' : `number from ${minimum} to ${maximum}`;
          const problem = await expectProblem(response, 422, 'not-possible');
          expectProblemText(problem, [`/optimizer/${parameter}`, `is ${value}`, accepts]);
        }
      }
    }
  });
});

describe('POST /v1/jobs', () => {
  it.each(['18446744073709551615', '9007199254740992', '1e400'])(
    'quotes the seed %s exactly',
    async (seed) => {
      const body = `{"prompt": "a dog", "metadata": {"a": "1"}, "seed": ${seed}}`;
      const answer = await api.post('/v1/jobs', body, { 'content-type': 'application/json' });
      expectProblemText(await expectProblem(answer, 400, 'bad-request'), ['/seed', `/seed is ${seed};`]);
    },
  );

  it('names every wrong field at once', async () => {
    const response = await api.post('/v1/jobs', { prompt: '', seed: -1 });
    const { errors } = await expectProblem(response, 400, 'bad-request');
    expect(errors?.map(({ pointer }) => pointer)).toEqual(expect.arrayContaining(['/prompt', '/seed']));
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
