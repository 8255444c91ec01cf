import { derivedId } from '../src/contract/ids.ts';
import type { PolicyRecord } from '../src/contract/records.ts';
import type { Report } from '../src/contract/schemas/policy.ts';
import { archivePolicy, removalKey } from '../src/jobs/archive.ts';
import { distributionKind } from '../src/numerics/distributions/check.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import type { SearchProgress } from '../src/search/run-search.ts';
import { sha256Of } from '../src/sha256.ts';
import { encodePolicy } from '../src/storage/policy-file.ts';
import type { WorkerContext } from './context.ts';
import type { RunningJob } from './running-job.ts';

/**
 * Stores what a job learned. The file describes itself and holds neither times nor ids: the same request with the same
 * seed gives the same bytes.
 */
export async function storePolicy(
  { context, lease: claim, record }: RunningJob,
  learned: {
    readonly distribution: NoiseDistribution;
    readonly search: SearchProgress;
    readonly report: Report | null;
    readonly summary: { readonly [key: string]: unknown };
    /** Of work on it. */
    readonly seconds: number;
  },
): Promise<PolicyRecord> {
  const { distribution, search, report, summary } = learned;
  const imagesSpent = search.rewards.length + 2 * (report?.draws ?? 0);
  const { prompt, negativePrompt, model, reward, sampler, optimizer, budget, seed } = record;
  const file = encodePolicy(distribution, {
    prompt,
    negativePrompt,
    model,
    reward,
    sampler,
    optimizer,
    budget,
    seed,
    imagesSpent,
    summary,
    report,
  });
  const id = derivedId('pol', record.id);
  // A worker that lost the job must not write over what its successor has stored.
  await claim.commit({}, ['running', 'canceling']);
  await forgetRemoval(context, id);
  await context.blobs.put(`policies/${id}.safetensors`, file);
  const policy: PolicyRecord = {
    id,
    tenant: record.tenant,
    createdAt: new Date().toISOString(),
    origin: 'job',
    jobId: record.id,
    prompt,
    negativePrompt,
    model,
    reward,
    sampler,
    optimizer,
    seed,
    distribution: {
      kind: distributionKind(distribution),
      components: distribution.weights.length,
      shape: [...distribution.shape],
    },
    summary: { ...summary },
    report,
    imagesSpent,
    seconds: Math.round(learned.seconds * 1000) / 1000,
    bytes: file.byteLength,
    sha256: sha256Of(file),
    warnings: record.warnings,
  };
  await archivePolicy(context.blobs, policy);
  await context.store.policies.create(policy);
  return policy;
}

/** That of an earlier try may have been deleted before the job was tried again; this one is another, and is not to go with it. */
async function forgetRemoval({ store, blobs }: WorkerContext, id: string): Promise<void> {
  if ((await store.policies.findGone(id)) === null) return;
  await blobs.delete(removalKey(id));
  await store.redis.del(store.keys.gone(id));
}
