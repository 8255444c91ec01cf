import type { JobRecord, PolicyRecord, SampleRecord } from '../../contract/records.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { removeJob, removePolicy, removeSample } from '../../jobs/remove.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Store } from '../../store/store.ts';
import { newestFirst } from '../newest-first.ts';
import type { Pace } from './pace.ts';
import type { LimitsByTenant } from './retention-limits.ts';

/** A record that exceeds the retention limits. */
export interface ExpiredRecord {
  readonly kind: 'job' | 'policy' | 'sample';
  readonly id: string;
  /** The limit that it exceeds, as a phrase for people. */
  readonly reason: string;
}

/** The input of a search for expired records. */
interface Search {
  readonly store: Store;
  readonly limitsOf: LimitsByTenant;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly pace: Pace;
}

const DAY_MS = 86_400_000;

/**
 * Finds the records beyond the retention limits that no unfinished work needs: ended jobs, ended
 * samples, and policies without an unfinished job or sample. The caller may delete each one as it
 * is found. Samples come last, because they tell when a policy was last used.
 * @param now milliseconds since 1970
 */
export async function* findExpired(
  store: Store,
  limitsOf: LimitsByTenant,
  now: number,
  pace: Pace,
): AsyncGenerator<ExpiredRecord> {
  const search = { store, limitsOf, now, pace };
  const policiesOfExpiredJobs = new Set<string>();
  for await (const record of findExpiredJobs(search)) {
    if (record.kind === 'policy') policiesOfExpiredJobs.add(record.id);
    yield record;
  }
  yield* findExpiredPolicies(search, policiesOfExpiredJobs);
  yield* findExpiredSamples(search);
}

/** Jobs by age and by number. A job that exceeds the number is yielded with its policy. */
async function* findExpiredJobs({ store, limitsOf, now, pace }: Search): AsyncGenerator<ExpiredRecord> {
  const counts = new Map<string, number>();
  for await (const job of pace(newestFirst(store.jobs))) {
    if (!hasEnded(job)) continue;
    const limits = limitsOf(job.tenant);
    const reason = reasonBeyond(countUp(counts, job.tenant), limits.jobs, 'jobs');
    if (reason) {
      // Job and policy expire together: without its job, the policy would never exceed a number.
      const policy = job.policyId === null ? null : await store.policies.find(job.policyId);
      if (policy && (await samplesOf(store, policy.id)).some((sample) => !hasEnded(sample))) continue;
      yield { kind: 'job', id: job.id, reason };
      if (policy) yield { kind: 'policy', id: policy.id, reason };
    } else if (isOlder(endOf(job), limits.days, now)) {
      yield { kind: 'job', id: job.id, reason: olderThan(limits.days) };
    }
  }
}

/** Policies that were neither created nor sampled from within the days of the tenant. */
async function* findExpiredPolicies(
  { store, limitsOf, now, pace }: Search,
  exclude: ReadonlySet<string>,
): AsyncGenerator<ExpiredRecord> {
  for await (const policy of pace(newestFirst(store.policies))) {
    const { days } = limitsOf(policy.tenant);
    if (!isOlder(Date.parse(policy.createdAt), days, now) || exclude.has(policy.id)) continue;
    const samples = await samplesOf(store, policy.id);
    if (await isNeeded(store, policy, samples)) continue;
    if (samples.every(({ createdAt }) => isOlder(Date.parse(createdAt), days, now)))
      yield { kind: 'policy', id: policy.id, reason: `not sampled from for ${days} days` };
  }
}

/** Samples by age and by number. */
async function* findExpiredSamples({ store, limitsOf, now, pace }: Search): AsyncGenerator<ExpiredRecord> {
  const counts = new Map<string, number>();
  for await (const sample of pace(newestFirst(store.samples))) {
    if (!hasEnded(sample)) continue;
    const limits = limitsOf(sample.tenant);
    const count = countUp(counts, sample.tenant);
    const reason = isOlder(endOf(sample), limits.days, now)
      ? olderThan(limits.days)
      : reasonBeyond(count, limits.samples, 'samples');
    if (reason) yield { kind: 'sample', id: sample.id, reason };
  }
}

/**
 * Deletes an expired record, unless it was deleted meanwhile or is needed by now. Afterwards it
 * answers 410, like a record that a client deleted.
 * @param now RFC 3339
 * @returns whether it was deleted
 */
export async function removeExpired(
  store: Store,
  blobs: BlobStore,
  { kind, id }: ExpiredRecord,
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

/** Whether the job of a policy, or a sample of it, is unfinished. */
async function isNeeded(
  store: Store,
  { jobId }: PolicyRecord,
  samples: readonly SampleRecord[],
): Promise<boolean> {
  const job = jobId === null ? null : await store.jobs.find(jobId);
  return (job !== null && !hasEnded(job)) || samples.some((sample) => !hasEnded(sample));
}

async function samplesOf(store: Store, policyId: string): Promise<SampleRecord[]> {
  const ids = await store.policies.children(policyId);
  return (await Promise.all(ids.map((id) => store.samples.find(id)))).filter((sample) => sample !== null);
}

function hasEnded({ status }: { readonly status: string }): boolean {
  return FINAL_STATUSES.includes(status);
}

/** Milliseconds since 1970. */
function endOf({ finishedAt, createdAt }: JobRecord | SampleRecord): number {
  return Date.parse(finishedAt ?? createdAt);
}

function isOlder(time: number, days: number | null, now: number): days is number {
  return days !== null && time < now - days * DAY_MS;
}

function countUp(counts: Map<string, number>, tenant: string): number {
  const count = (counts.get(tenant) ?? 0) + 1;
  counts.set(tenant, count);
  return count;
}

const olderThan = (days: number) => `ended more than ${days} days ago`;

function reasonBeyond(count: number, limit: number | null, noun: string): string | null {
  return limit !== null && count > limit ? `there are ${limit} newer ${noun}` : null;
}
