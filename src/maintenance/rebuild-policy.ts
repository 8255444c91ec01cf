import { decodeTime } from 'ulid';
import type { JobRecord, PolicyRecord } from '../contract/records.ts';
import type { RewardChoice, Sampler } from '../contract/schemas/common.ts';
import type { Report } from '../contract/schemas/policy.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { isObject } from '../core/is-object.ts';
import { createPolicyRecord, describePolicyFile } from '../jobs/policy-record.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { PolicyFileError } from '../storage/policy-file.ts';

/** No policy is older: findery did not exist. */
const EARLIEST_TIME = Date.UTC(2024, 0);

/**
 * Rebuilds the record of a policy from its file. `createdAt` is the time in its id, if that is
 * possible, and `seconds` is unknown. The policy belongs to the tenant of its job; without a job,
 * to the default tenant.
 * @param job the job with the same id, if there is one. Only then the report of the file is
 *   trusted.
 * @param storedAt when the file was stored, milliseconds since 1970
 * @throws PolicyFileError when the metadata lack a prompt, model or sampler
 */
export function rebuildPolicy(
  id: string,
  bytes: Uint8Array,
  distribution: NoiseDistribution,
  metadata: { readonly [name: string]: unknown },
  job: JobRecord | null,
  storedAt: number,
): PolicyRecord {
  const { prompt, negativePrompt, model, reward, sampler, optimizer, seed, imagesSpent, summary, report } =
    metadata;
  if (typeof prompt !== 'string' || typeof model !== 'string' || !isObject(sampler)) {
    throw new PolicyFileError('Its metadata have no prompt, model or sampler.');
  }
  return createPolicyRecord({
    content: describePolicyFile(bytes, distribution),
    metadata: {
      prompt,
      negativePrompt: typeof negativePrompt === 'string' ? negativePrompt : '',
      model,
      reward: typeof reward === 'string' || Array.isArray(reward) ? (reward as RewardChoice) : null,
      sampler: { clipSkip: 0, ...sampler } as Sampler,
      optimizer: isObject(optimizer) ? optimizer : null,
      seed: Number.isSafeInteger(seed) ? Number(seed) : null,
      summary: isObject(summary) ? summary : {},
      report: job && isObject(report) ? (report as Report) : null,
      imagesSpent: job && Number.isInteger(imagesSpent) ? Number(imagesSpent) : null,
    },
    provenance: {
      id,
      tenant: job?.tenant ?? DEFAULT_TENANT,
      createdAt: job?.finishedAt ?? new Date(timeOf(id, storedAt)).toISOString(),
      jobId: job?.id ?? null,
      seconds: null,
      warnings: [],
    },
  });
}

/**
 * The time in the id of a policy, in milliseconds since 1970. Clients may choose ids whose time is
 * impossible; `storedAt` is used then.
 */
function timeOf(id: string, storedAt: number): number {
  try {
    const time = decodeTime(id.slice(4).toUpperCase());
    return time > EARLIEST_TIME && time <= storedAt ? time : storedAt;
  } catch {
    return storedAt;
  }
}
