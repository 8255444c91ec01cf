import { describe, expect, it } from 'vitest';
import { standardNormalDistribution } from '../../src/numerics/distributions/gaussian.ts';
import { anchoredDistribution, mixtureDistribution } from '../../src/numerics/distributions/mixture.ts';
import { decodePolicy, encodePolicy } from '../../src/storage/policy-file.ts';
import { decodeSafetensors } from '../../src/storage/safetensors/decode.ts';
import { encodeSafetensors } from '../../src/storage/safetensors/encode.ts';
import { type Tensor, UPLOAD_LIMITS } from '../../src/storage/safetensors/format.ts';

const SHAPE = [2, 1, 2];
const anchored = anchoredDistribution(
  SHAPE,
  [Float32Array.of(1, -1, 0.5, 2), Float32Array.of(0, 1, -2, 0.25)],
  0.9,
  [0.75, 0.25],
);
const wide = mixtureDistribution(SHAPE, [{ mean: [1, 2, 3, 4], std: [0.1, 0.2, 0.3, 0.4], weight: 1 }]);
const metadata = {
  prompt: 'a green dog, "café" \u{1f436}',
  seed: 1,
  sampler: { scheduler: 'dpmsolver++', steps: 12, guidanceScale: 4 },
  report: null,
};

describe('a policy file', () => {
  it.each([
    ['a mixture with one width per component', anchored],
    ['a Gaussian with one width per number', wide],
    ['the standard distribution', standardNormalDistribution([4])],
    ['a distribution of a single number', standardNormalDistribution([1])],
  ])('restores %s and its metadata', (_, distribution) => {
    const read = decodePolicy(encodePolicy(distribution, metadata), distribution.shape);
    expect(read).toEqual({ distribution, metadata });
  });

  it('has the same bytes for the same distribution and metadata, also after reading', () => {
    const bytes = encodePolicy(anchored, metadata);
    expect(encodePolicy(anchored, { ...metadata })).toEqual(bytes);
    const read = decodePolicy(bytes, null);
    expect(encodePolicy(read.distribution, read.metadata)).toEqual(bytes);
  });

  it('has the documented tensors and metadata for Python users', () => {
    const { tensors, metadata: texts } = decodeSafetensors(
      encodePolicy(anchored, { ...metadata, unknown: undefined }),
    );
    expect(tensors.mean).toMatchObject({ dtype: 'F32', shape: [2, 2, 1, 2] });
    expect(tensors.std).toMatchObject({ dtype: 'F32', shape: [2] });
    expect(tensors.weights).toMatchObject({ dtype: 'F32', shape: [2] });
    expect(decodeSafetensors(encodePolicy(wide, {})).tensors.std.shape).toEqual([1, 2, 1, 2]);
    expect(texts).toEqual({
      format: 'findery.policy',
      formatVersion: '1',
      prompt: JSON.stringify(metadata.prompt),
      seed: '1',
      sampler: '{"scheduler":"dpmsolver++","steps":12,"guidanceScale":4}',
      report: 'null',
    });
  });

  it('does not share memory with the decoded distribution', () => {
    const bytes = encodePolicy(wide, {});
    const { distribution } = decodePolicy(bytes, SHAPE);
    bytes.fill(0);
    expect(distribution).toEqual(wide);
  });

  it('is not written with a distribution or metadata that could not be read again', () => {
    expect(() => encodePolicy({ ...wide, weights: Float32Array.of(0.5) }, {})).toThrow(
      'The weights sum to 0.5',
    );
    expect(() => encodePolicy(wide, { format: 'pt' })).toThrow('The metadata name "format" is reserved');
    const many = { mean: [0], std: 1, weight: 1 / 257 };
    expect(() => encodePolicy(mixtureDistribution([1], new Array(257).fill(many)), {})).toThrow(
      '257 components',
    );
  });
});

describe('a policy file of other software', () => {
  const parts = {
    mean: f32([1, 2, 1, 2], [1, 2, 3, 4]),
    std: f32([1], [0.5]),
    weights: f32([1], [1]),
  };

  it('is read without any metadata, for a model of the same shape or for none', () => {
    const bytes = encodeSafetensors(parts);
    expect(decodePolicy(bytes, SHAPE).distribution).toEqual(decodePolicy(bytes, null).distribution);
    expect(decodePolicy(bytes, null)).toEqual({
      distribution: {
        shape: SHAPE,
        mean: Float32Array.of(1, 2, 3, 4),
        std: Float32Array.of(0.5),
        weights: Float32Array.of(1),
      },
      metadata: {},
    });
  });

  it('keeps its metadata as strings', () => {
    const bytes = encodeSafetensors(parts, { format: 'pt', prompt: '2020' });
    expect(decodePolicy(bytes, SHAPE).metadata).toEqual({ prompt: '2020' });
  });

  it.each<[string, { [name: string]: Tensor | undefined }, string]>([
    [
      'without weights',
      { weights: undefined },
      'The tensor `weights` is missing; a policy holds `mean`, `std` and `weights`. Found: mean, std.',
    ],
    ['with a tensor too many', { bias: f32([1], [0]) }, 'also holds a tensor "bias"'],
    [
      'in half precision',
      { mean: { dtype: 'F16', shape: [1, 2, 1, 2], data: new Uint16Array(4) } },
      "`mean` has dtype F16; a policy's tensors are F32",
    ],
    [
      'in double precision',
      { std: { dtype: 'F64', shape: [1], data: Float64Array.of(1) } },
      '`std` has dtype F64',
    ],
    [
      'with a mean that lacks K',
      { mean: f32([2, 1, 2], [1, 2, 3, 4]) },
      '`mean` has shape [2, 1, 2]; accepted is [1, 2, 1, 2]',
    ],
    [
      'of another size',
      { mean: f32([1, 4, 1, 1], [1, 2, 3, 4]) },
      '`mean` has shape [1, 4, 1, 1]; accepted is [1, 2, 1, 2]',
    ],
    [
      'whose K differs',
      { weights: f32([2], [0.5, 0.5]) },
      'accepted is [2, 2, 1, 2]: K = 2 as `weights` says',
    ],
    [
      'with a std that lacks K',
      { std: f32([], [1]) },
      '`std` has shape []; accepted are [1], one per component, and [1, 2, 1, 2]',
    ],
    [
      'with a std per number that lacks K',
      { std: f32([2, 1, 2], [1, 1, 1, 1]) },
      '`std` has shape [2, 1, 2]',
    ],
    ['with weights of two axes', { weights: f32([1, 1], [1]) }, '`weights` has shape [1, 1]; it must be [K]'],
    ['with a single number as weight', { weights: f32([], [1]) }, '`weights` has shape []'],
    [
      'without components',
      { weights: f32([0], []) },
      '`weights` has shape [0]; it must be [K], one weight per component, K from 1 to 256',
    ],
    [
      'with too many components',
      { weights: f32([257], new Array(257).fill(1 / 257)) },
      '`weights` has shape [257]',
    ],
    ['with a mean that is not finite', { mean: f32([1, 2, 1, 2], [1, Number.NaN, 3, 4]) }, 'mean[1] is NaN'],
    ['with no width', { std: f32([1], [0]) }, 'std[0] is 0; standard deviations must be finite and > 0'],
    ['with a width that is not finite', { std: f32([1], [Number.POSITIVE_INFINITY]) }, 'std[0] is Infinity'],
    ['with weights that do not sum to 1', { weights: f32([1], [0.9]) }, 'they must sum to 1'],
  ])('is rejected %s', (_, changes, message) => {
    const tensors = Object.fromEntries(
      Object.entries({ ...parts, ...changes }).filter(([, tensor]) => tensor),
    ) as {
      [name: string]: Tensor;
    };
    expect(() => decodePolicy(encodeSafetensors(tensors), SHAPE)).toThrow(
      expect.objectContaining({ name: 'PolicyFileError', message: expect.stringContaining(message) }),
    );
  });

  it('is rejected when it is not a safetensors file', () => {
    expect(() => decodePolicy(new TextEncoder().encode('PK\x03\x04 a zip archive'), SHAPE)).toThrow(
      expect.objectContaining({
        name: 'PolicyFileError',
        message: expect.stringContaining('this one is not valid'),
      }),
    );
  });

  it('is rejected as an upload when its metadata are many or deep, and opened when it is stored', () => {
    const format = { format: 'findery.policy', formatVersion: '1' };
    const deep = encodeSafetensors(parts, { ...format, a: `${'['.repeat(5000)}${']'.repeat(5000)}` });
    expect(() => decodePolicy(deep, null, UPLOAD_LIMITS)).toThrow('values in 5000 levels');
    const long = encodeSafetensors(parts, { ...format, a: `[${'0,'.repeat(20_000)}0]` });
    expect(() => decodePolicy(long, null, UPLOAD_LIMITS)).toThrow(
      'accepted are 16384 values in all metadata',
    );
    const many = encodeSafetensors(parts, Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, ''])));
    expect(() => decodePolicy(many, null, UPLOAD_LIMITS)).toThrow('257 entries; at most 256');
    for (const bytes of [deep, long, many])
      expect(decodePolicy(bytes, null).distribution.shape).toEqual(SHAPE);
  });

  it("is rejected when it claims findery's format and breaks its rules", () => {
    const format = { format: 'findery.policy', formatVersion: '1' };
    expect(() => decodePolicy(encodeSafetensors(parts, { ...format, prompt: 'a dog' }), null)).toThrow(
      'The metadata value "prompt" is not JSON',
    );
    expect(() => decodePolicy(encodeSafetensors(parts, { ...format, formatVersion: '2' }), null)).toThrow(
      "The file's formatVersion is 2; this findery reads 1.",
    );
  });
});

function f32(shape: readonly number[], numbers: readonly number[]): Tensor {
  return { dtype: 'F32', shape, data: Float32Array.from(numbers) };
}
