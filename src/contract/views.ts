import type { JobRecord, PolicyRecord, SampleRecord } from './records.ts';
import type { Job } from './schemas/job.ts';
import type { Policy } from './schemas/policy.ts';
import type { Sample } from './schemas/sample.ts';

/**
 * A job as clients see it. Field by field: what is not named here is seen by nobody, and taking a record apart by what is to be left out takes
 * twenty times as long.
 */
export function viewJob(record: JobRecord, queuePosition: number | null): Job {
  return {
    object: 'job',
    id: record.id,
    status: record.status,
    createdAt: record.createdAt,
    startedAt: record.startedAt,
    finishedAt: record.finishedAt,
    prompt: record.prompt,
    negativePrompt: record.negativePrompt,
    preset: record.preset,
    model: record.model,
    reward: record.reward,
    optimizer: record.optimizer,
    budget: record.budget,
    sampler: record.sampler,
    seed: record.seed,
    samples: record.samples,
    reportDraws: record.reportDraws,
    priority: record.priority,
    deadline: record.deadline ?? null, // jobs from before there were deadlines
    metadata: record.metadata,
    progress: record.progress,
    queuePosition,
    rewards: record.rewards,
    report: record.report,
    policyId: record.policyId,
    sampleId: record.sampleId,
    previewUrl: record.previewUrl,
    error: record.error,
    warnings: record.warnings,
    webhook: record.webhook ?? null,
    attempts: record.attempts,
    requestId: record.requestId,
    urls: urlsOf(record.id, record.policyId),
  };
}

/**
 * The same of a job that was accepted just now, as JSON.
 * @param shown what its record has of it, as JSON (`submitJob`)
 */
export function newJobJson(shown: string, id: string, queuePosition: number | null): string {
  const urls = JSON.stringify(urlsOf(id, null));
  return `{"object":"job",${shown.slice(1, -1)},"queuePosition":${queuePosition},"urls":${urls}}`;
}

function urlsOf(id: string, policyId: string | null): Job['urls'] {
  const self = `/v1/jobs/${id}`;
  return {
    self,
    events: `${self}/events`,
    rewards: `${self}/rewards`,
    cancel: `${self}/cancel`,
    pause: `${self}/pause`,
    resume: `${self}/resume`,
    retry: `${self}/retry`,
    policy: policyId && `/v1/policies/${policyId}`,
  };
}

export function viewPolicy({ tenant: _, ...record }: PolicyRecord): Policy {
  const self = `/v1/policies/${record.id}`;
  return {
    object: 'policy',
    ...record,
    law: record.distribution,
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
