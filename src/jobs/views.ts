import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Sample } from './schemas/sample.ts';
import type { JobRecord, PolicyRecord, SampleRecord } from './store.ts';

/** A job as clients see it. */
export function viewJob(record: JobRecord, queuePosition: number | null): Job {
  const {
    cancelRequested: _,
    keepPartial: __,
    checkpoint: ___,
    takenAt: ____,
    outOfMemory: _____,
    pauseRequested: ______,
    storageAway: _______,
    digest: ________,
    tenant: _________,
    ...visible
  } = record;
  const self = `/v1/jobs/${record.id}`;
  return {
    object: 'job',
    ...visible,
    webhook: record.webhook ?? null,
    deadline: record.deadline ?? null, // jobs from before there were deadlines
    queuePosition,
    urls: {
      self,
      events: `${self}/events`,
      rewards: `${self}/rewards`,
      cancel: `${self}/cancel`,
      pause: `${self}/pause`,
      resume: `${self}/resume`,
      retry: `${self}/retry`,
      policy: record.policyId && `/v1/policies/${record.policyId}`,
    },
  };
}

export function viewPolicy({ tenant: _, ...record }: PolicyRecord): Policy {
  const self = `/v1/policies/${record.id}`;
  return {
    object: 'policy',
    ...record,
    urls: {
      self,
      parameters: `${self}/parameters`,
      samples: `${self}/samples`,
      job: record.jobId && `/v1/jobs/${record.jobId}`,
    },
  };
}

export function viewSample(record: SampleRecord): Sample {
  const { outOfMemory: _, storageAway: __, tenant: ___, ...visible } = record;
  return {
    object: 'sample',
    ...visible,
    urls: { self: `/v1/samples/${record.id}`, policy: record.policyId && `/v1/policies/${record.policyId}` },
  };
}
