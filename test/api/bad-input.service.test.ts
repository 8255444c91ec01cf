import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/contract/problem.ts';
import {
  expectNothing,
  expectProblem,
  expectWords,
  PROMPT,
  readOk,
  startTestApi,
  type TestApi,
  timed,
  type Words,
} from '../support/service.ts';

const BYTES = { 'content-type': 'application/octet-stream' };
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

type Row = readonly [name: string, body: unknown, status: number, code: ProblemCode, words: Words];

const prompts: Row[] = [
  ['no prompt', {}, 400, 'bad-request', ['/prompt', 'is missing']],
  ['an empty one', { prompt: '' }, 400, 'bad-request', ['/prompt', '""', 'at least one visible character']],
  ['only spaces', { prompt: ' \u2003 ' }, 400, 'bad-request', ['/prompt', 'at least one visible character']],
  [
    '2,001 characters',
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
  ...['\u0000', '\u0007', '\n', '\u007f'].map(
    (character): Row => [
      `the control character ${JSON.stringify(character)}`,
      { prompt: `a${character}dog` },
      400,
      'bad-request',
      ['/prompt', 'dog', 'no control characters'],
    ],
  ),
  ...['\ud800', '\udc00', 'a\ud83d dog'].map(
    (prompt): Row => [
      `half of a surrogate pair ${JSON.stringify(prompt)}`,
      { prompt },
      400,
      'bad-request',
      ['/prompt', /\\ud/, 'no control characters'],
    ],
  ),
  [
    'a negative prompt with a control character',
    { prompt: PROMPT, negativePrompt: 'a\u0007' },
    400,
    'bad-request',
    ['/negativePrompt', 'no control characters'],
  ],
];

/** Numbers out of range, of the wrong kind, or absurd, with the range that the answer has to name. */
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

const names: Row[] = [
  [
    'a report of one draw',
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
  ['no rewards', { reward: [] }, 400, 'bad-request', ['/reward', 'has 0 entries', 'a list of 1 to 8']],
  [
    'nine rewards',
    { reward: Array.from({ length: 9 }, (_, i) => ({ name: `reward-${i}` })) },
    400,
    'bad-request',
    ['/reward', 'has 9 entries', 'a list of 1 to 8'],
  ],
  [
    'a weight that is too large',
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
    { sampler: { scheduler: 'heun' } },
    422,
    'unknown-scheduler',
    ['/sampler/scheduler', '"heun"', 'ddim', /dpmsolver\+\+/],
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
    'a model that is a path',
    { model: '../stickers' },
    400,
    'bad-request',
    ['/model', '../stickers', 'a name: letters'],
  ],
  [
    'a model that is a property of objects',
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
    'more clipSkip than there are layers',
    { sampler: { clipSkip: 3 } },
    422,
    'not-possible',
    ['/sampler/clipSkip', 'clipSkip is 3', 'stickers takes 0 to 2'],
  ],
  [
    '65x64',
    { sampler: { width: 65, height: 64 } },
    422,
    'not-possible',
    ['/sampler/width', '65x64', 'it makes 64x64'],
  ],
  [
    '512x512',
    { sampler: { width: 512, height: 512 } },
    422,
    'not-possible',
    ['/sampler/width', '512x512', '64x64'],
  ],
  ['64x72', { sampler: { height: 72 } }, 422, 'not-possible', ['/sampler/height', '64x72', '64x64']],
  [
    'an unknown field',
    { promt: 'x' },
    400,
    'bad-request',
    ['/promt', 'not known here', 'prompt, negativePrompt'],
  ],
  [
    'an unknown field inside',
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
    'a metadata value that is no text',
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
].map(([name, body, ...rest]) => [name, { prompt: PROMPT, ...(body as object) }, ...rest] as unknown as Row);

describe('POST /v1/jobs refuses', () => {
  for (const [group, rows] of Object.entries({ prompts, ranges, names })) {
    it.each(rows)(`${group}: %s`, async (_name, body, status, code, words) => {
      expectWords(await expectProblem(await api.post('/v1/jobs', body), status, code), words);
    });
  }

  it('every number of an optimizer outside of the range that GET /v1/optimizers tells', async () => {
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
          expectWords(problem, [`/optimizer/${parameter}`, `is ${value}`, accepts]);
        }
      }
    }
  });

  it('two wrong fields at once, and names both', async () => {
    const response = await api.post('/v1/jobs', { prompt: '', seed: -1 });
    const { errors } = await expectProblem(response, 400, 'bad-request');
    expect(errors?.map(({ pointer }) => pointer)).toEqual(expect.arrayContaining(['/prompt', '/seed']));
  });
});

describe('bodies that are no request', () => {
  const json = { 'content-type': 'application/json' };

  it.each([
    ['malformed JSON', '{"prompt": "a dog"', json, 400, 'invalid-json', /JSON/],
    ['JSON with NaN', '{"prompt": "a dog", "seed": NaN}', json, 400, 'invalid-json', /JSON/],
    ['an empty body', '', json, 400, 'invalid-json', /empty.*Send a JSON object/],
    ['a list', '[]', json, 400, 'bad-request', /The body is \[\]; takes a value of type object/],
    ['null', 'null', json, 400, 'bad-request', /The body is null; takes a value of type object/],
    ['a text', '"a dog"', json, 400, 'bad-request', /type object/],
    ['__proto__', '{"prompt": "a dog", "__proto__": {"seed": 1}}', json, 400, 'invalid-json', /__proto__/],
    [
      'constructor.prototype',
      '{"prompt": "a dog", "constructor": {"prototype": {"seed": 1}}}',
      json,
      400,
      'invalid-json',
      /constructor/,
    ],
    [
      'another content type',
      '<a/>',
      { 'content-type': 'text/xml' },
      415,
      'unsupported-media-type',
      /text\/xml.*application\/json/,
    ],
    [
      'plain text',
      '{"prompt":"a"}',
      { 'content-type': 'text/plain' },
      415,
      'unsupported-media-type',
      /application\/json/,
    ],
    [
      'a form',
      'prompt=a',
      { 'content-type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported-media-type',
      /json/,
    ],
    ['bytes', 'x', BYTES, 415, 'unsupported-media-type', /application\/json/],
    ['too much', `{"prompt": "${'a'.repeat(70_000)}"}`, json, 413, 'too-large', /65536.*FINDERY_BODY_LIMIT/],
  ] as const)('%s', async (_name, body, headers, status, code, words) => {
    const problem = await expectProblem(await api.post('/v1/jobs', body, headers), status, code);
    expect(problem.detail).toMatch(words);
  });

  it.each([
    ['bytes that are no UTF-8', Buffer.from('{"prompt": "a \xff dog"}', 'latin1')],
    ['half of a character', Buffer.from('{"prompt": "a \xe2\x82"}', 'latin1')],
    ['UTF-16', Buffer.from('{"prompt": "a dog"}', 'utf16le')],
  ])('%s', async (_name, body) => {
    const problem = await expectProblem(
      await api.post('/v1/jobs', new Uint8Array(body), json),
      400,
      'invalid-json',
    );
    expect(problem.detail).toMatch(/UTF-8|JSON/);
  });

  it('what is packed', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT }, { 'content-encoding': 'gzip' });
    expect(response.headers.get('accept-encoding')).toBe('identity');
    const problem = await expectProblem(response, 415, 'unsupported-media-type');
    expect(problem.detail).toMatch(/"gzip".*without Content-Encoding/);
  });

  it('lists in lists, deeper than the stack', async () => {
    const body = `{"prompt": "a dog", "metadata": ${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
    expectWords(await expectProblem(await api.post('/v1/jobs', body, json), 400, 'bad-request'), [
      '/metadata',
      'is [[[',
      'type object',
    ]);
  });

  it('a long text that ends badly, in no more time than a good one', async () => {
    const refuse = async (length: number) => {
      const body = { prompt: `${'a'.repeat(length)}\u0007` };
      const [milliseconds] = await timed(async () =>
        expectProblem(await api.post('/v1/jobs', body), 400, 'bad-request'),
      );
      return milliseconds;
    };
    await refuse(60_000);
    const times = [await refuse(60_000), await refuse(60_000), await refuse(60_000)];
    // Two seconds and more when the pattern tried every place for its visible character.
    expect(Math.min(...times)).toBeLessThan(500);
  });

  it('no body at all', async () => {
    const problem = await expectProblem(await api.post('/v1/jobs'), 400, 'bad-request');
    expect(problem.detail).toMatch(/The body is (null|nothing); takes a value of type object/);
  });
});

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
      'a format',
      { prompt: PROMPT, format: 'gif' },
      400,
      'bad-request',
      ['/format', '"gif"', 'png, webp, jpeg'],
    ],
    ['eta', { prompt: PROMPT, eta: 1 }, 422, 'not-possible', ['/eta', 'eta is 1', 'ddim']],
    ['a size', { prompt: PROMPT, width: 512 }, 422, 'not-possible', ['/width', '512x64', '64x64']],
    [
      'a scheduler',
      { prompt: PROMPT, scheduler: 'x' },
      422,
      'unknown-scheduler',
      ['/scheduler', '"x"', 'ddim'],
    ],
    ['a model', { prompt: PROMPT, model: 'x' }, 422, 'unknown-model', ['/model', '"x"', 'stickers']],
    [
      'a reward',
      { prompt: PROMPT, reward: 'x' },
      422,
      'unknown-reward',
      ['/reward', '"x"', 'stickers-reward'],
    ],
    [
      'a sampler object',
      { prompt: PROMPT, sampler: {} },
      400,
      'bad-request',
      ['/sampler', 'not known', 'guidanceScale'],
    ],
  ] satisfies Row[] as Row[])('%s', async (_name, body, status, code, words) => {
    expectWords(await expectProblem(await api.post('/v1/samples', body), status, code), words);
  });
});

it('and nothing came into being', () => expectNothing(api));
