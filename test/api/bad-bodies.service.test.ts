import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  startTestApi,
  type TestApi,
  timed,
} from '../support/test-api.ts';

const BYTES = { 'content-type': 'application/octet-stream' };
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('POST /v1/jobs refuses', () => {
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
    [
      'a body over the limit',
      `{"prompt": "${'a'.repeat(70_000)}"}`,
      json,
      413,
      'too-large',
      /65536.*FINDERY_BODY_LIMIT/,
    ],
  ] as const)('%s', async (_name, body, headers, status, code, text) => {
    const problem = await expectProblem(await api.post('/v1/jobs', body, headers), status, code);
    expect(problem.detail).toMatch(text);
  });

  it.each([
    ['bytes that are not UTF-8', Buffer.from('{"prompt": "a \xff dog"}', 'latin1')],
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

  it('an encoded body', async () => {
    const response = await api.post('/v1/jobs', { prompt: PROMPT }, { 'content-encoding': 'gzip' });
    expect(response.headers.get('accept-encoding')).toBe('identity');
    const problem = await expectProblem(response, 415, 'unsupported-media-type');
    expect(problem.detail).toMatch(/"gzip".*without Content-Encoding/);
  });

  it('lists nested deeper than the stack', async () => {
    const body = `{"prompt": "a dog", "metadata": ${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
    expectProblemText(await expectProblem(await api.post('/v1/jobs', body, json), 400, 'bad-request'), [
      '/metadata',
      'is [[[',
      'type object',
    ]);
  });

  it('a long invalid text in linear time', async () => {
    const refuse = async (length: number) => {
      const body = { prompt: `${'a'.repeat(length)}\u0007` };
      const [milliseconds] = await timed(async () =>
        expectProblem(await api.post('/v1/jobs', body), 400, 'bad-request'),
      );
      return milliseconds;
    };
    await refuse(60_000);
    const times = [await refuse(60_000), await refuse(60_000), await refuse(60_000)];
    // A backtracking pattern took more than two seconds.
    expect(Math.min(...times)).toBeLessThan(500);
  });

  it('no body at all', async () => {
    const problem = await expectProblem(await api.post('/v1/jobs'), 400, 'bad-request');
    expect(problem.detail).toMatch(/The body is (null|nothing); takes a value of type object/);
  });
});

it('leaves no record and no file', () => expectNothingStored(api));
