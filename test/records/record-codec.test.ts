import { describe, expect, it } from 'vitest';
import { currentVersion, RecordVersionError } from '../../src/records/migrations.ts';
import {
  decodeField,
  decodeInternalField,
  decodeRecord,
  encodeFields,
  encodeInternalFields,
  encodeRecord,
} from '../../src/records/record-codec.ts';

/** A hash as HGETALL returns it. */
function hashOf(fields: readonly string[]): Record<string, string> {
  const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]] as const] : []));
  return Object.fromEntries(pairs);
}

const VERSION = String(currentVersion('job'));
const sampler = { steps: 2, clipSkip: 0 };
const record = {
  id: 'job_1',
  tenant: 'acme',
  status: 'queued',
  prompt: 'a "cat"',
  seed: 0,
  error: null,
  sampler,
};

describe('encodeRecord', () => {
  it('is the inverse of decodeRecord', () => {
    const hash = hashOf(encodeRecord('job', record));
    expect(decodeRecord('job', hash)).toEqual({ record, upgrade: null });
  });

  it('writes JSON, except for the status, which scripts compare', () => {
    expect(encodeFields({ status: 'queued', prompt: 'a cat' })).toEqual([
      'status',
      'queued',
      'prompt',
      '"a cat"',
    ]);
  });

  it('leaves out properties that are undefined', () => {
    expect(encodeFields({ digest: undefined, seed: 1 })).toEqual(['seed', '1']);
  });
});

describe('decodeRecord', () => {
  it('gives null for an empty hash', () => {
    expect(decodeRecord('job', {})).toBeNull();
    expect(decodeRecord('job', { _removing: '"2026-01-31T00:00:00Z"' })).toBeNull();
  });

  it('reads an enqueued record from one field, over which the fields beside it take precedence', () => {
    const enqueued = {
      _version: VERSION,
      _accepted: JSON.stringify(record),
      id: '"job_1"',
      tenant: '"acme"',
      status: 'queued',
    };
    expect(decodeRecord('job', enqueued)?.record).toEqual(record);
    const changed = { ...enqueued, status: 'running', seed: '7' };
    expect(decodeRecord('job', changed)?.record).toEqual({ ...record, status: 'running', seed: 7 });
  });

  it('gives records without a tenant to the default one', () => {
    expect(decodeRecord('dlv', { id: '"dlv_1"' })?.record).toEqual({ id: 'dlv_1', tenant: 'default' });
  });

  it('turns a record of an older release into the current version, and says what has to be written', () => {
    const old = { id: '"smp_1"', status: 'queued', sampler: '{"steps":2}' };
    expect(decodeRecord('smp', old)).toEqual({
      record: { id: 'smp_1', tenant: 'default', status: 'queued', sampler },
      upgrade: {
        version: '0',
        nextVersion: currentVersion('smp'),
        before: ['tenant', '', 'sampler', '{"steps":2}'],
        after: ['tenant', '"default"', 'sampler', '{"clipSkip":0,"steps":2}'],
      },
    });
  });

  it('refuses a record of a newer release', () => {
    expect(() => decodeRecord('job', { id: '"job_1"', _version: '99' })).toThrow(RecordVersionError);
  });
});

describe('internal fields', () => {
  const hash = hashOf([
    ...encodeRecord('job', record, { secrets: ['s'] }),
    ...encodeInternalFields({ n: 1 }),
  ]);

  it('are in no record', () => {
    expect(decodeRecord('job', hash)?.record).toEqual(record);
  });

  it('are read by their names', () => {
    expect(decodeInternalField(hash, 'secrets')).toEqual(['s']);
    expect(decodeInternalField(hash, 'n')).toBe(1);
    expect(decodeInternalField(hash, 'missing')).toBeNull();
    expect(decodeField(null)).toBeNull();
  });
});
