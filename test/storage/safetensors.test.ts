import { describe, expect, it } from 'vitest';
import { decodeSafetensors } from '../../src/storage/safetensors/decode.ts';
import { encodeSafetensors } from '../../src/storage/safetensors/encode.ts';
import { STORED_LIMITS, type Tensor, UPLOAD_LIMITS } from '../../src/storage/safetensors/format.ts';

/** A file with any header and data, valid or not. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return Buffer.concat([length, json, data]);
}

const pair = (begin: number, end: number) => ({
  dtype: 'F32',
  shape: [(end - begin) / 4],
  data_offsets: [begin, end],
});

describe('encodeSafetensors', () => {
  it('lays out the bytes as the reference library does', () => {
    const bytes = encodeSafetensors(
      {
        small: { dtype: 'U8', shape: [2], data: Uint8Array.of(7, 8) },
        b: { dtype: 'F32', shape: [1, 2], data: Float32Array.of(1, -2) },
        a: { dtype: 'F32', shape: [], data: Float32Array.of(0.5) },
        wide: { dtype: 'F64', shape: [1], data: Float64Array.of(3) },
      },
      { z: '1', format: 'test' },
    );
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
    expect(length % 8).toBe(0);
    expect(header.trimEnd()).toBe(
      '{"__metadata__":{"format":"test","z":"1"},' +
        '"wide":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},' +
        '"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},' +
        '"b":{"dtype":"F32","shape":[1,2],"data_offsets":[12,20]},' +
        '"small":{"dtype":"U8","shape":[2],"data_offsets":[20,22]}}',
    );
    expect(bytes.length).toBe(8 + length + 22);
    expect([...bytes.subarray(8 + length + 8, 8 + length + 12)]).toEqual([0, 0, 0, 0x3f]);
  });

  it('writes the same bytes for any order of the keys', () => {
    const a: Tensor = { dtype: 'F32', shape: [1], data: Float32Array.of(1) };
    const b: Tensor = { dtype: 'F32', shape: [1], data: Float32Array.of(2) };
    expect(encodeSafetensors({ a, b }, { x: '1', y: '2' })).toEqual(
      encodeSafetensors({ b, a }, { y: '2', x: '1' }),
    );
  });

  it.each<[string, { [name: string]: Tensor }]>([
    ['"t" of dtype F64', { t: { dtype: 'F64', shape: [1], data: Float32Array.of(1) } }],
    ['"t" has 2 numbers', { t: { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2) } }],
    ['__metadata__', { __metadata__: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } }],
  ])('rejects tensors that do not fit: %s', (message, tensors) => {
    expect(() => encodeSafetensors(tensors)).toThrow(message);
  });
});

describe('decodeSafetensors', () => {
  it('reads what was encoded, for every dtype and any alignment in memory', () => {
    const tensors: { [name: string]: Tensor } = {
      flags: { dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
      half: { dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) },
      int: { dtype: 'I32', shape: [2, 1], data: Int32Array.of(-1, 2) },
      long: { dtype: 'I64', shape: [1], data: BigInt64Array.of(-(2n ** 60n)) },
      float: { dtype: 'F32', shape: [2], data: Float32Array.of(Number.NaN, -0) },
      double: { dtype: 'F64', shape: [1], data: Float64Array.of(Math.PI) },
      none: { dtype: 'F64', shape: [0, 5], data: new Float64Array(0) },
    };
    const bytes = encodeSafetensors(tensors, { prompt: 'a café "quoted" \u{1f600}' });
    for (let shift = 0; shift < 8; shift++) {
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      const decoded = decodeSafetensors(shifted.subarray(shift));
      expect(decoded.tensors).toEqual(tensors);
      expect(decoded.metadata).toEqual({ prompt: 'a café "quoted" \u{1f600}' });
    }
  });

  it('reads names that are special to JavaScript objects', () => {
    const info = JSON.stringify(pair(0, 4));
    const { tensors } = decodeSafetensors(file(`{"__proto__":${info}}`, new Uint8Array(4)));
    expect(Object.keys(tensors)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(tensors)).toBe(Object.prototype);
  });

  const huge = new Uint8Array(16);
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true);
  const data = new Uint8Array(8);

  it.each<[string, Uint8Array, string | RegExp]>([
    ['fewer bytes than a length', new Uint8Array(7), 'The file has 7 bytes'],
    [
      'a header of 2^63 bytes',
      huge,
      'The header claims 9223372036854775808 bytes; at most 100000000 are accepted',
    ],
    ['a header beyond the end', file({}).subarray(0, 9), 'only 1 follow'],
    [
      'a header that is not UTF-8',
      Buffer.concat([file('{"a":1}').subarray(0, 9), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0x7d])]),
      'not UTF-8',
    ],
    ['a header that is not JSON', file('{"a":'), 'not JSON'],
    ['a header that is a list', file('[]'), 'begin with "{"'],
    ['white space before the header', file(' {}'), 'begin with "{"'],
    ['something behind the header', file('{} x'), 'not JSON'],
    ['a tensor that is no object', file({ a: 5 }), 'entry of tensor "a"'],
    [
      'a tensor twice',
      file(`{"a":${JSON.stringify(pair(0, 8))},"a":${JSON.stringify(pair(0, 8))}}`, data),
      'two members with one name',
    ],
    [
      'a shape twice',
      file('{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', data),
      'two members with one name',
    ],
    ['an unknown field', file({ a: { ...pair(0, 8), stride: 1 } }, data), 'unknown field "stride"'],
    ['an unknown dtype', file({ a: { ...pair(0, 8), dtype: 'F128' } }, data), 'dtype "F128"; known are BOOL'],
    [
      'a dtype from the prototype',
      file({ a: { ...pair(0, 8), dtype: 'constructor' } }, data),
      'dtype "constructor"',
    ],
    ['no dtype', file({ a: { shape: [2], data_offsets: [0, 8] } }, data), 'dtype missing'],
    ['two negative sizes', file({ a: { ...pair(0, 8), shape: [-1, -2] } }, data), 'shape [-1,-2]'],
    ['a negative size', file({ a: { ...pair(0, 8), shape: [-2] } }, data), 'shape [-2]'],
    ['a size that is no whole number', file({ a: { ...pair(0, 8), shape: [1.5] } }, data), 'shape [1.5]'],
    ['a shape that needs more bytes', file({ a: { ...pair(0, 8), shape: [3] } }, data), 'needs 12 bytes'],
    [
      'a shape whose product overflows',
      file({ a: { ...pair(0, 8), shape: [2 ** 40, 2 ** 40] } }, data),
      'too large to count',
    ],
    [
      'an overflow hidden by a 0',
      file({ a: { ...pair(0, 0), shape: [2 ** 40, 2 ** 40, 0] } }),
      'too large to count',
    ],
    [
      'offsets that run backwards',
      file({ a: { ...pair(0, 8), data_offsets: [8, 0] } }, data),
      'begin <= end',
    ],
    ['three offsets', file({ a: { ...pair(0, 8), data_offsets: [0, 4, 8] } }, data), 'data_offsets [0,4,8]'],
    ['offsets beyond the data', file({ a: pair(0, 16) }, data), 'ends at byte 16, but the file holds 8'],
    ['tensors that overlap', file({ a: pair(0, 8), b: pair(4, 8) }, data), 'overlaps another one at byte 4'],
    ['two tensors on the same bytes', file({ a: pair(0, 8), b: pair(0, 8) }, data), 'overlaps'],
    ['a gap before a tensor', file({ a: pair(4, 8) }, data), 'gap of 4 bytes before tensor "a"'],
    ['bytes that belong to nothing', file({ a: pair(0, 4) }, data), 'The last 4 bytes'],
    ['metadata that are no texts', file({ __metadata__: { steps: 12 } }), 'metadata value "steps" is 12'],
    ['metadata that are a text', file({ __metadata__: 'x' }), '__metadata__ must be an object'],
    [
      'nesting without end',
      file(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`),
      'nested 200001 levels deep; at most 8',
    ],
    [
      'nesting without end in a field',
      file(`{"a":{"dtype":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`),
      'nested 200002 levels deep; at most 8',
    ],
  ])('rejects %s', (_, bytes, message) => {
    let caught: unknown;
    try {
      decodeSafetensors(bytes);
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({
      name: 'SafetensorsError',
      message: expect.stringMatching(toPattern(message)),
    });
  });

  it.each([
    ['bytes', { bytes: 100 }, `{"__metadata__":{"a":"${'x'.repeat(200)}"}}`, 'claims 225 bytes; at most 100'],
    ['values', { values: 10 }, '{"a":[0,0,0,0,0,0,0,0,0,0]}', 'has 13 values; at most 10'],
    ['metadata', { metadataEntries: 2 }, '{"__metadata__":{"a":"","b":"","c":""}}', '3 entries; at most 2'],
  ])('limits the %s of the header where the caller says so', (_, limit, header, message) => {
    expect(() => decodeSafetensors(file(header), { ...STORED_LIMITS, ...limit })).toThrow(message);
  });

  it('checks the limits before it parses the header', () => {
    // Not JSON: parsing would fail with another message.
    const many = file(`{"__metadata__":{${'"a":"",'.repeat(20_000)}`);
    expect(() => decodeSafetensors(many, UPLOAD_LIMITS)).toThrow('values; at most 16384');
    const large = file(' '.repeat(2 ** 20 + 1));
    expect(() => decodeSafetensors(large, UPLOAD_LIMITS)).toThrow('1048577 bytes; at most 1048576');
  });

  it('throws nothing but SafetensorsError when bytes are changed or cut off', () => {
    const whole = encodeSafetensors(
      { a: { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } },
      { k: 'v' },
    );
    for (let position = 0; position < whole.length; position++) {
      for (const value of [0, 0x22, 0x7b, 0x7d, 0xff]) {
        const changed = whole.slice();
        changed[position] = value;
        for (const bytes of [changed, whole.slice(0, position)]) {
          try {
            decodeSafetensors(bytes);
          } catch (error) {
            expect(error).toMatchObject({ name: 'SafetensorsError' });
          }
        }
      }
    }
  });
});

function toPattern(message: string | RegExp): RegExp {
  return message instanceof RegExp ? message : new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}
