import type { JobRecord, PolicyRecord, SampleRecord } from '../../contract/records.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { removeJob, removePolicy, removeSample } from '../../jobs/remove.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import type { Pace } from './pace.ts';
import { eachRecord } from './pages.ts';

/** How much is kept; null: no limit. */
export interface Limits {
  /** Days after the end of a job or a sample, or after the last use of a policy. */
  readonly days: number | null;
  /** Ended jobs, with what they made. */
  readonly jobs: number | null;
  /** Ended sample batches. */
  readonly samples: number | null;
}

/** The limits of a tenant. */
export type LimitsOf = (tenant: string) => Limits;

export interface Expired {
  readonly kind: 'job' | 'policy' | 'sample';
  readonly id: string;
  /** For people. */
  readonly reason: string;
}

const DAY = 86_400_000;
const hasEnded = ({ status }: { readonly status: string }) => FINAL_STATUSES.includes(status);

/**
 * What is beyond the limits, and needed by nothing that lives: not what has not ended, nor the policy of a live job, nor one that a
 * live sample draws from. It may be deleted as it comes; samples come last, for they tell when a policy was last drawn from.
 * @param now milliseconds since 1970
 */
export async function* findExpired(
  store: Store,
  limitsOf: LimitsOf,
  now: number,
  pace: Pace,
): AsyncGenerator<Expired> {
  const isOld = (time: number, days: number | null): days is number =>
    days !== null && time < now - days * DAY;

  const jobs = new Map<string, number>();
  const withTheirJobs = new Set<string>();
  for await (const job of pace(eachRecord(store.jobs))) {
    if (!hasEnded(job)) continue;
    const limits = limitsOf(job.tenant);
    const tooMany = beyond(countUp(jobs, job.tenant), limits.jobs, 'jobs');
    if (tooMany) {
      // Together, or the policy would never be found again by its job.
      const policy = job.policyId === null ? null : await store.policies.find(job.policyId);
      if (policy && (await samplesOf(store, policy.id)).some((sample) => !hasEnded(sample))) continue;
      yield { kind: 'job', id: job.id, reason: tooMany };
      if (!policy) continue;
      withTheirJobs.add(policy.id);
      yield { kind: 'policy', id: policy.id, reason: tooMany };
    } else if (isOld(endOf(job), limits.days))
      yield { kind: 'job', id: job.id, reason: olderThan(limits.days) };
  }

  for await (const policy of pace(eachRecord(store.policies))) {
    const { days } = limitsOf(policy.tenant);
    if (!isOld(Date.parse(policy.createdAt), days) || withTheirJobs.has(policy.id)) continue;
    const drawn = await samplesOf(store, policy.id);
    if (await isNeeded(store, policy, drawn)) continue;
    if (drawn.every(({ createdAt }) => isOld(Date.parse(createdAt), days)))
      yield { kind: 'policy', id: policy.id, reason: `not drawn from for ${days} days` };
  }

  const samples = new Map<string, number>();
  for await (const sample of pace(eachRecord(store.samples))) {
    if (!hasEnded(sample)) continue;
    const limits = limitsOf(sample.tenant);
    const count = countUp(samples, sample.tenant);
    const reason = isOld(endOf(sample), limits.days)
      ? olderThan(limits.days)
      : beyond(count, limits.samples, 'samples');
    if (reason) yield { kind: 'sample', id: sample.id, reason };
  }
}

/**
 * Deletes one of them, unless it is needed by now or gone already. Afterwards it answers with 410, as what a client deleted.
 * @param now RFC 3339
 * @returns whether it was deleted
 */
export async function removeExpired(
  store: Store,
  blobs: BlobStore,
  { kind, id }: Expired,
  now: string,
): Promise<boolean> {
  if (kind === 'job') return removeJob(store, blobs, id, now);
  if (kind === 'sample') {
    const sample = await store.samples.find(id);
    if (!sample || !hasEnded(sample)) return false;
    await removeSample(store, blobs, id, now);
  } else {
    const policy = await store.policies.find(id);
    if (!policy || (await isNeeded(store, policy, await samplesOf(store, id)))) return false;
    await removePolicy(store, blobs, id, now);
  }
  return true;
}

async function isNeeded(
  store: Store,
  { jobId }: PolicyRecord,
  drawn: readonly SampleRecord[],
): Promise<boolean> {
  const job = jobId === null ? null : await store.jobs.find(jobId);
  return (job !== null && !hasEnded(job)) || drawn.some((sample) => !hasEnded(sample));
}

async function samplesOf(store: Store, policy: string): Promise<SampleRecord[]> {
  const ids = await store.policies.children(policy);
  return (await Promise.all(ids.map((id) => store.samples.find(id)))).filter((sample) => sample !== null);
}

function endOf({ finishedAt, createdAt }: JobRecord | SampleRecord): number {
  return Date.parse(finishedAt ?? createdAt);
}

function countUp(counts: Map<string, number>, tenant: string): number {
  const count = (counts.get(tenant) ?? 0) + 1;
  counts.set(tenant, count);
  return count;
}

const olderThan = (days: number) => `ended more than ${days} days ago`;

function beyond(count: number, most: number | null, noun: string): string | null {
  return most !== null && count > most ? `there are ${most} newer ${noun}` : null;
}
