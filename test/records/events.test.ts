import { describe, expect, it } from 'vitest';
import { BEGINNING, comparePositions, parsePosition } from '../../src/records/events.ts';

describe('a Last-Event-ID', () => {
  it.each([
    ['1700000000000-3', '1700000000000-3'],
    ['1700000000000', '1700000000000-0'],
    ['0001-002', '1-2'],
    ['9999999999999999999-9999999999999999999', '9999999999999999999-9999999999999999999'],
  ])('"%s" is the position %s', (text, position) => {
    expect(parsePosition(text)).toBe(position);
  });

  it.each(['', 'x', '-1', '1-', '1-2-3', '1.5', '99999999999999999999', '1 ', '*', '+'])(
    '"%s" is no position: reading begins at the first event',
    (text) => {
      expect(parsePosition(text)).toBe(BEGINNING);
    },
  );
});

it('positions compare as pairs of whole numbers of any length', () => {
  const sorted = [
    '0-0',
    '9-0',
    '9-2',
    '9-10',
    '10-0',
    '9007199254740992-1',
    '9007199254740993-0',
    '18446744073709551615-0',
  ];
  for (const [i, a] of sorted.entries())
    for (const [k, b] of sorted.entries()) expect(Math.sign(comparePositions(a, b))).toBe(Math.sign(i - k));
});
