import { describe, expect, it } from 'vitest';
import { decodeRecordFile, encodeRecordFile } from '../../src/storage/record-file.ts';

const body = {
  kind: 'pol',
  version: 1,
  record: { id: 'pol_1', seed: 7, small: 1e-7, text: 'é "x"\n', none: null },
};
const text = () => Buffer.from(encodeRecordFile(body)).toString();

describe('a record file', () => {
  it('returns its body', () => {
    expect(decodeRecordFile(encodeRecordFile(body))).toEqual(body);
    expect(JSON.parse(text())).toMatchObject({ format: 'findery.record', formatVersion: 1, body });
  });

  it('has the same bytes for the same body', () => {
    expect(encodeRecordFile(structuredClone(body))).toEqual(encodeRecordFile(body));
  });

  it.each([
    [
      'changed',
      () => text().replace('"seed":7', '"seed":8'),
      /damaged: its body has the SHA-256 \w{64}, but \w{64} was/,
    ],
    ['cut off', () => text().slice(0, -10), /damaged: it is not JSON/],
    ['empty', () => '', /not JSON/],
    [
      'something else',
      () => '{"format": "findery.policy"}',
      /format is "findery.policy"; a record has "findery.record"/,
    ],
    ['null', () => 'null', /format is missing/],
    [
      'newer',
      () => text().replace('"formatVersion":1', '"formatVersion":2'),
      /formatVersion is 2; this findery reads up to 1/,
    ],
  ])('that is %s is rejected with the reason', (_, bytes, message) => {
    expect(() => decodeRecordFile(Buffer.from(bytes()))).toThrow(
      expect.objectContaining({ name: 'RecordFileError', message: expect.stringMatching(message) }),
    );
  });
});
