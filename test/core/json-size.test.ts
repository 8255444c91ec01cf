import { describe, expect, it } from 'vitest';
import { measureJson } from '../../src/core/json-size.ts';

describe('measureJson', () => {
  it.each([
    ['1', { depth: 0, members: 0, values: 0 }],
    ['{"a": [1, 2], "b": {}}', { depth: 2, members: 2, values: 8 }],
    [String.raw`{"a\"[{:,": "\\", "b": "]},:"}`, { depth: 1, members: 2, values: 3 }],
    ['[[[]],[]]', { depth: 3, members: 0, values: 9 }],
    ['"not closed', { depth: 0, members: 0, values: 0 }],
  ])('%s', (text, size) => {
    expect(measureJson(text)).toEqual(size);
  });
});
