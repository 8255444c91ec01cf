import type { BlobStore } from '../../storage/blobs.ts';
import { derivedId } from '../ids.ts';
import { removeJob, removePolicy, removeSample } from '../remove.ts';
import { ENDED } from '../schemas/job.ts';
import type { JobRecord, SampleRecord, Store } from '../store.ts';
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
const hasEnded = ({ status }: { readonly status: string }) => ENDED.includes(status);

/**
 * What is beyond the limits, and needed by nothing that lives: not what has not ended, nor the policy of a live job, nor one that a
 * live sample draws from.
 * @param now milliseconds since 1970
 */
export async function findExpired(store: Store, limitsOf: LimitsOf, now: number): Promise<Expired[]> {
  const expired: Expired[] = [];
  /** Policies that something live needs, and when each was last drawn from. */
  const needed = new Set<string>();
  const lastUse = new Map<string, number>();
  const isOld = (time: number, days: number | null): days is number => days !== null && time < now - days * DAY;

  const sampleCounts = new Map<string, number>();
  for await (const sample of eachRecord(store.samples)) {
    noteUse(sample, needed, lastUse);
    if (!hasEnded(sample)) continue;
    const { days, samples } = limitsOf(sample.tenant);
    const count = countUp(sampleCounts, sample.tenant);
    const reason = isOld(endOf(sample), days) ? olderThan(days) : beyond(count, samples, 'samples');
    if (reason) expired.push({ kind: 'sample', id: sample.id, reason });
  }

  const jobCounts = new Map<string, number>();
  const policies = new Map<string, string>();
  for await (const job of eachRecord(store.jobs)) {
    if (!hasEnded(job)) {
      needed.add(derivedId('pol', job.id));
      continue;
    }
    const { days, jobs } = limitsOf(job.tenant);
    const tooMany = beyond(countUp(jobCounts, job.tenant), jobs, 'jobs');
    if (tooMany) {
      // Together, or the policy would never be found again by its job.
      if (job.policyId && needed.has(job.policyId)) continue;
      if (job.policyId) policies.set(job.policyId, tooMany);
      expired.push({ kind: 'job', id: job.id, reason: tooMany });
    } else if (isOld(endOf(job), days)) expired.push({ kind: 'job', id: job.id, reason: olderThan(days) });
  }

  for await (const policy of eachRecord(store.policies)) {
    if (needed.has(policy.id)) continue;
    const { days } = limitsOf(policy.tenant);
    const used = Math.max(Date.parse(policy.createdAt), lastUse.get(policy.id) ?? 0);
    const reason = policies.get(policy.id) ?? (isOld(used, days) ? `not drawn from for ${days} days` : null);
    if (reason) expired.push({ kind: 'policy', id: policy.id, reason });
  }
  return expired;
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
    if (!policy || (await isNeeded(store, id, policy.jobId))) return false;
    await removePolicy(store, blobs, id, now);
  }
  return true;
}

async function isNeeded(store: Store, id: string, jobId: string | null): Promise<boolean> {
  const job = jobId === null ? null : await store.jobs.find(jobId);
  if (job && !hasEnded(job)) return true;
  const samples = await Promise.all((await store.policies.children(id)).map((sample) => store.samples.find(sample)));
  return samples.some((sample) => sample !== null && !hasEnded(sample));
}

function noteUse(
  { policyId, createdAt, ...sample }: SampleRecord,
  needed: Set<string>,
  lastUse: Map<string, number>,
): void {
  if (policyId === null) return;
  if (!hasEnded(sample)) needed.add(policyId);
  lastUse.set(policyId, Math.max(lastUse.get(policyId) ?? 0, Date.parse(createdAt)));
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
