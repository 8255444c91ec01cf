import { describe, expect, it } from 'vitest';
import { redactSecrets } from '../../src/cli/redact-secrets.ts';

describe('redaction of log lines', () => {
  it('replaces secrets by stars, whatever the case of their names, at any depth and in lists', () => {
    const line = {
      authorization: 'a1',
      deep: { list: [{ Secret: 'a2', kept: 1 }, { deeper: { apiKey: 'a3' } }] },
      password: { of: 'a4' },
    };
    const before = structuredClone(line);
    expect(redactSecrets(line)).toEqual({
      authorization: '***',
      deep: { list: [{ Secret: '***', kept: 1 }, { deeper: { apiKey: '***' } }] },
      password: '***',
    });
    expect(line).toEqual(before);
  });

  it('returns a line without secrets as it is, and leaves instances of classes to their serializers', () => {
    const line = {
      jobId: 'job_1',
      numbers: [1, 2],
      secrets: 2,
      at: new Date(0),
      err: new Error('x'),
      nothing: null,
    };
    expect(redactSecrets(line)).toBe(line);
    expect(redactSecrets({ ...line, secret: 's' })).toMatchObject({
      at: line.at,
      err: line.err,
      secret: '***',
    });
  });

  it('ends on a line that contains itself', () => {
    const line: Record<string, unknown> = { secret: 's' };
    line.self = line;
    expect(JSON.stringify(redactSecrets(line))).not.toContain('"s"');
  });
});
