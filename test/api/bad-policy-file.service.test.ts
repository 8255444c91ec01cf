import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/contract/problem.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { encodeSafetensors } from '../../src/storage/safetensors/encode.ts';
import {
  type ExpectedText,
  expectNothingStored,
  expectProblem,
  expectProblemText,
  PROMPT,
  startTestApi,
  type TestApi,
} from '../support/test-api.ts';

const BYTES = { 'content-type': 'application/octet-stream' };
/** Shape of the latents of the embedded model at 64x64. */
const SHAPE = [4, 16, 16];
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('POST /v1/policies refuses', () => {
  const query = `?prompt=${encodeURIComponent(PROMPT)}`;
  const numbers = SHAPE.reduce((product, size) => product * size, 1);

  /** A policy file of one Gaussian, valid unless the arguments make it invalid. */
  function policyFile({ shape = SHAPE, mean = 0, std = 1, weight = 1, metadata = {} } = {}): Uint8Array {
    const count = shape.reduce((product, size) => product * size, 1);
    return encodeSafetensors(
      {
        mean: { dtype: 'F32', shape: [1, ...shape], data: new Float32Array(count).fill(mean) },
        std: { dtype: 'F32', shape: [1], data: Float32Array.of(std) },
        weights: { dtype: 'F32', shape: [1], data: Float32Array.of(weight) },
      },
      metadata,
    );
  }

  /**
   * A file of `header` and `data` zero bytes; `claimed` is the length of the header in its prefix.
   */
  function rawFile(header: string, data: number, claimed = Buffer.byteLength(header)): Uint8Array {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(claimed));
    return Buffer.concat([length, Buffer.from(header), Buffer.alloc(data)]);
  }

  const metadataOf = (count: number) =>
    `{"__metadata__":{${Array.from({ length: count }, (_, i) => `"${i}":""`).join()}}}`;
  const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;
  const claims = (shape: number[], end: number) =>
    JSON.stringify({ mean: { dtype: 'F32', shape, data_offsets: [0, end] } });

  it.each([
    ['another shape', policyFile({ shape: [4, 8, 8] }), /\[4, 8, 8\].*\[4, 16, 16\]/],
    ['NaN', policyFile({ mean: Number.NaN }), /NaN/],
    ['infinity', policyFile({ mean: Number.POSITIVE_INFINITY }), /Infinity/],
    ['a std of 0', policyFile({ std: 0 }), /std.*0/],
    ['a std below 0', policyFile({ std: -1 }), /std.*-1/],
    ['weights that do not sum to 1', policyFile({ weight: 0.5 }), /weights.*0\.5/],
    ['no bytes', new Uint8Array(0), /empty|0 bytes/],
    ['7 bytes', new Uint8Array(7), /7 bytes/],
    ['a text', Buffer.from('this is no tensor at all'), /safetensors/],
    ['a header longer than the file', rawFile('{}', 0, 1_000_000), /1000000/],
    ['a header of 10 GB', rawFile('{}', 0, 10 * 2 ** 30), /10737418240/],
    ['a tensor of 10 GB', rawFile(claims([2_684_354_560], 10 * 2 ** 30), 16), /10737418240/],
    ['a tensor whose offsets contradict its shape', rawFile(claims([4], 12), 12), /16 bytes/],
    ['a shape that overflows', rawFile(claims([2 ** 31, 2 ** 31, 2 ** 31], 16), 16), /too large/],
    ['a header that is not JSON', rawFile('{"mean":', 0), /JSON/],
    ['a million metadata', rawFile(metadataOf(1_000_000), 0), /header claims \d+ bytes; at most 1048576/],
    ['300 metadata', rawFile(metadataOf(300), 0), /metadata have 300 entries; at most 256/],
    ['a dtype nested deep', rawFile(`{"mean":{"dtype":${nested(100_000)}}}`, 0), /nested 100002 levels deep/],
    [
      'metadata nested deep',
      policyFile({ metadata: { format: 'findery.policy', formatVersion: '1', optimizer: nested(100_000) } }),
      /"optimizer" has 200000 values in 100000 levels; .*32 levels/,
    ],
    ['no tensors', rawFile('{}', 0), /`mean` is missing/],
  ])('%s', async (_name, bytes, words) => {
    const problem = await expectProblem(
      await api.post(`/v1/policies${query}`, bytes, BYTES),
      422,
      'bad-policy-file',
    );
    expect(problem.detail).toMatch(words);
  });

  it('a tensor of the wrong dtype', async () => {
    const bytes = encodeSafetensors(
      {
        mean: { dtype: 'F64', shape: [1, ...SHAPE], data: new Float64Array(numbers) },
        std: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
        weights: { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
      },
      {},
    );
    const problem = await expectProblem(
      await api.post(`/v1/policies${query}`, bytes, BYTES),
      422,
      'bad-policy-file',
    );
    expect(problem.detail).toMatch(/F64.*F32/);
  });

  it('JSON, a missing content type and a file over the limit', async () => {
    const json = await api.post(`/v1/policies${query}`, { mean: [] });
    expect((await expectProblem(json, 415, 'unsupported-media-type')).detail).toContain(
      'application/octet-stream',
    );
    await expectProblem(await api.post(`/v1/policies${query}`), 415, 'unsupported-media-type');
    const large = await api.post(`/v1/policies${query}`, new Uint8Array(api.config.importLimit + 1), BYTES);
    expect((await expectProblem(large, 413, 'too-large')).detail).toMatch(/67108864.*FINDERY_IMPORT_LIMIT/);
  });

  it.each([
    ['no prompt anywhere', policyFile(), '', 422, 'not-possible', ['/prompt', '1 to 2000 characters']],
    ['an empty prompt', policyFile(), '?prompt=', 400, 'bad-request', ['/prompt', '""', 'visible character']],
    [
      'an unknown model',
      policyFile(),
      `${query}&model=sdxl`,
      422,
      'unknown-model',
      ['/model', '"sdxl"', 'stickers'],
    ],
    [
      'an unknown reward',
      policyFile(),
      `${query}&reward=x`,
      422,
      'unknown-reward',
      ['/reward', '"x"', 'stickers'],
    ],
    [
      'an unknown query parameter',
      policyFile(),
      `${query}&seed=1`,
      400,
      'bad-request',
      ['/seed', 'not known', 'prompt'],
    ],
    [
      'a control character in the prompt of the file',
      policyFile({ metadata: { prompt: 'a\u0007dog' } }),
      '',
      422,
      'not-possible',
      ['/prompt', 'control characters'],
    ],
    [
      'a negative prompt of 3000 characters in the file',
      policyFile({ metadata: { prompt: 'a dog', negativePrompt: 'a'.repeat(3000) } }),
      '',
      422,
      'not-possible',
      ['/negativePrompt', '2000 characters'],
    ],
    [
      'an invalid sampler in the file',
      encodePolicy(
        {
          shape: SHAPE,
          mean: new Float32Array(numbers),
          std: Float32Array.of(1),
          weights: Float32Array.of(1),
        },
        { prompt: 'a dog', sampler: { steps: 1e9 } },
      ),
      '',
      422,
      'not-possible',
      ['/sampler/steps', '1000000000', '1 to 1000'],
    ],
  ] as const satisfies readonly (readonly [string, Uint8Array, string, number, ProblemCode, ExpectedText])[])(
    '%s',
    async (_name, bytes, search, status, code, words) => {
      expectProblemText(
        await expectProblem(await api.post(`/v1/policies${search}`, bytes, BYTES), status, code),
        words,
      );
    },
  );
});

it('leaves no record and no file', () => expectNothingStored(api));
