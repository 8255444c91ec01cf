import { describe, expect, it } from 'vitest';
import { censor } from '../../src/cli/censor.ts';

describe('what is logged', () => {
  it('has stars for secrets, whatever their case, at any depth and in lists', () => {
    const line = {
      authorization: 'a1',
      deep: { list: [{ Secret: 'a2', kept: 1 }, { deeper: { apiKey: 'a3' } }] },
      password: { of: 'a4' },
    };
    const before = structuredClone(line);
    expect(censor(line)).toEqual({
      authorization: '***',
      deep: { list: [{ Secret: '***', kept: 1 }, { deeper: { apiKey: '***' } }] },
      password: '***',
    });
    expect(line).toEqual(before);
  });

  it('is the same object where there is nothing to hide, and what has a class is left to its serializer', () => {
    const line = {
      jobId: 'job_1',
      numbers: [1, 2],
      secrets: 2,
      at: new Date(0),
      err: new Error('x'),
      nothing: null,
    };
    expect(censor(line)).toBe(line);
    expect(censor({ ...line, secret: 's' })).toMatchObject({ at: line.at, err: line.err, secret: '***' });
  });

  it('ends with what holds itself', () => {
    const line: Record<string, unknown> = { secret: 's' };
    line.self = line;
    expect(JSON.stringify(censor(line))).not.toContain('"s"');
  });
});
