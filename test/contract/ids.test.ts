import { describe, expect, it } from 'vitest';
import { derivedId, newId, newUlid } from '../../src/contract/ids.ts';

describe('ids', () => {
  it('sort by the time at which they were made', () => {
    const ids = Array.from({ length: 20_000 }, (_, i) => newUlid(1_700_000_000_000 + i));
    expect(ids.toSorted()).toEqual(ids);
    expect(ids[0]).toMatch(/^01hf7yat00[0-9a-hjkmnp-tv-z]{16}$/);
  });

  it('of one millisecond are all different', () => {
    expect(new Set(Array.from({ length: 20_000 }, () => newUlid(5))).size).toBe(20_000);
  });

  it('begin with the kind of record', () => {
    expect(newId('job')).toMatch(/^job_[0-9a-z]{26}$/);
  });

  it('of what a job makes follow from the id of the job', () => {
    expect(derivedId('pol', 'job_01hf7yat00abcdefghjkmnpqrs')).toBe('pol_01hf7yat00abcdefghjkmnpqrs');
  });
});
