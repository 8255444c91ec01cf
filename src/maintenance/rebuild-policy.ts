import { decodeTime } from 'ulid';
import type { JobRecord, PolicyRecord } from '../contract/records.ts';
import type { RewardChoice, Sampler } from '../contract/schemas/common.ts';
import type { Report } from '../contract/schemas/policy.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { distributionKind } from '../numerics/distributions/check.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { sha256Of } from '../sha256.ts';
import { PolicyFileError } from '../storage/policy-file.ts';

/** No policy is older. */
const FIRST = Date.UTC(2024, 0);

/**
 * The record of a policy from its file alone. Its time is that of its id, unless a client chose it; how long the work on it took is not known. It is its
 * job's tenant's; without a job it is from before there were tenants.
 * @param job the job of its number, if there is one: only then a report is one that was made here
 * @param storedAt when its file was last stored, milliseconds since 1970
 * @throws PolicyFileError when the file does not say what it is for
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
    throw new PolicyFileError('Its metadata do not have a prompt, a model and a sampler.');
  }
  return {
    id,
    tenant: job?.tenant ?? DEFAULT_TENANT,
    createdAt: job?.finishedAt ?? new Date(timeOf(id, storedAt)).toISOString(),
    origin: job ? 'job' : 'import',
    jobId: job?.id ?? null,
    prompt,
    negativePrompt: typeof negativePrompt === 'string' ? negativePrompt : '',
    model,
    reward: typeof reward === 'string' || Array.isArray(reward) ? (reward as RewardChoice) : null,
    sampler: { clipSkip: 0, ...sampler } as Sampler,
    optimizer: isObject(optimizer) ? optimizer : null,
    seed: Number.isSafeInteger(seed) ? Number(seed) : null,
    distribution: {
      kind: distributionKind(distribution),
      components: distribution.weights.length,
      shape: [...distribution.shape],
    },
    summary: isObject(summary) ? summary : {},
    report: job && isObject(report) ? (report as Report) : null,
    imagesSpent: job && Number.isInteger(imagesSpent) ? Number(imagesSpent) : null,
    seconds: null,
    bytes: bytes.byteLength,
    sha256: sha256Of(bytes),
    warnings: [],
  };
}

/** Milliseconds since 1970. Clients may choose ids that tell no time, or one when there was no findery. */
function timeOf(id: string, storedAt: number): number {
  try {
    const time = decodeTime(id.slice(4).toUpperCase());
    return time > FIRST && time <= storedAt ? time : storedAt;
  } catch {
    return storedAt;
  }
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
