import { derivedId } from '../src/contract/ids.ts';
import type { PolicyRecord } from '../src/contract/records.ts';
import type { Report } from '../src/contract/schemas/policy.ts';
import { archivePolicy, removalKey } from '../src/jobs/archive.ts';
import { createPolicyRecord, describePolicyFile } from '../src/jobs/policy-record.ts';
import { policyFileKey } from '../src/jobs/stored-files.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import type { SearchProgress } from '../src/search/search-loop.ts';
import { encodePolicy } from '../src/storage/policy-file.ts';
import type { RunningJob, WorkerContext } from './context.ts';

/**
 * Stores the policy that a job learned: its file and its record. The file says what it is for and
 * contains neither times nor ids, so the same request with the same seed gives the same bytes.
 * @throws Interruption as `Lease.commit`
 */
export async function storePolicy(
  { context, lease, record }: RunningJob,
  learned: {
    readonly distribution: NoiseDistribution;
    readonly search: SearchProgress;
    /** null: the distribution was not judged. */
    readonly report: Report | null;
    /** The optimizer's summary of its result. */
    readonly summary: { readonly [key: string]: unknown };
    /** Seconds of work on search and report. */
    readonly seconds: number;
  },
): Promise<PolicyRecord> {
  const { distribution, search, report, summary } = learned;
  const imagesSpent = search.rewards.length + 2 * (report?.draws ?? 0);
  const { prompt, negativePrompt, model, reward, sampler, optimizer, budget, seed } = record;
  const purpose = { prompt, negativePrompt, model, reward, sampler, optimizer };
  const result = { imagesSpent, summary: { ...summary }, report };
  const file = encodePolicy(distribution, { ...purpose, budget, seed, ...result });
  const id = derivedId('pol', record.id);
  // Checks the lease: a worker that lost the job must not overwrite the policy of its successor.
  await lease.commit({}, ['running', 'canceling']);
  await forgetRemoval(context, id);
  await context.blobs.put(policyFileKey(id), file);
  const policy = createPolicyRecord({
    content: describePolicyFile(file, distribution),
    metadata: { ...purpose, seed, ...result },
    provenance: {
      id,
      tenant: record.tenant,
      createdAt: new Date().toISOString(),
      jobId: record.id,
      seconds: Math.round(learned.seconds * 1000) / 1000,
      warnings: record.warnings,
    },
  });
  await archivePolicy(context.blobs, policy);
  await context.store.policies.create(policy, { isAccepted: true });
  return policy;
}

/**
 * Withdraws the deletion of the policy of an earlier try. A retried job stores another policy under
 * the same id, which must not be deleted with the first one.
 */
async function forgetRemoval({ store, blobs }: WorkerContext, id: string): Promise<void> {
  if ((await store.policies.findGone(id)) === null) return;
  await blobs.delete(removalKey(id));
  await store.redis.del(store.keys.gone(id));
}
