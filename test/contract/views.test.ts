import { describe, expect, it } from 'vitest';
import type { JobRecord, PolicyRecord, SampleRecord } from '../../src/contract/records.ts';
import { Job } from '../../src/contract/schemas/job.ts';
import { Policy } from '../../src/contract/schemas/policy.ts';
import { Sample } from '../../src/contract/schemas/sample.ts';
import { viewJob, viewPolicy, viewSample } from '../../src/contract/views.ts';

const INTERNAL = ['tenant', 'checkpoint', 'takenAt', 'outOfMemory', 'storageAway', 'digest', 'keepPartial'];
/** Fields of views that no record has. */
const MADE_BY_VIEW = ['object', 'urls', 'queuePosition'];

/** A record with a text in every field. */
function recordOf(schema: { readonly properties: object }): unknown {
  const names = [...Object.keys(schema.properties), ...INTERNAL];
  return Object.fromEntries(
    names.filter((name) => !MADE_BY_VIEW.includes(name)).map((name) => [name, `the ${name}`]),
  );
}

describe('the view of a record', () => {
  it('of a job has exactly the fields of the schema', () => {
    const view = viewJob(recordOf(Job) as JobRecord, 3);
    expect(Object.keys(view).sort()).toEqual(Object.keys(Job.properties).sort());
    expect(view).toMatchObject({ object: 'job', prompt: 'the prompt', queuePosition: 3 });
  });

  it('of a batch of samples has no internal fields', () => {
    const view = viewSample(recordOf(Sample) as SampleRecord);
    expect(view).not.toHaveProperty('tenant');
    expect(view).not.toHaveProperty('outOfMemory');
    expect(view).not.toHaveProperty('storageAway');
    expect(view).toMatchObject({ object: 'sample', prompt: 'the prompt' });
  });

  it('of a policy has the distribution under its earlier name too', () => {
    const view = viewPolicy(recordOf(Policy) as PolicyRecord);
    expect(view).not.toHaveProperty('tenant');
    expect(view.distribution).toBe('the distribution');
    expect(view.law).toBe(view.distribution); // `law` is the alias
  });
});
