import type { PolicyRecord } from '../contract/records.ts';
import type { NoiseDistribution } from '../numerics/distributions/noise-distribution.ts';
import { distributionKind } from '../numerics/distributions/noise-distribution.ts';
import { sha256Of } from '../sha256.ts';

/** What a policy's file says of itself. The caller has checked it. */
export type PolicyMetadata = Pick<
  PolicyRecord,
  | 'prompt'
  | 'negativePrompt'
  | 'model'
  | 'reward'
  | 'sampler'
  | 'optimizer'
  | 'seed'
  | 'summary'
  | 'report'
  | 'imagesSpent'
>;

/** What a policy's file does not say: whose the policy is, when it was made and by which job. */
export type PolicyProvenance = Pick<
  PolicyRecord,
  'id' | 'tenant' | 'createdAt' | 'jobId' | 'seconds' | 'warnings'
>;

/** The record of a policy that a job learned, a client imported, or reindexing found in storage. */
export function createPolicyRecord(policy: {
  /** The bytes of the safetensors file. */
  readonly file: Uint8Array;
  /** The distribution in `file`. */
  readonly distribution: NoiseDistribution;
  readonly metadata: PolicyMetadata;
  /** Without a job, the policy was imported. */
  readonly provenance: PolicyProvenance;
}): PolicyRecord {
  const { file, distribution, metadata, provenance } = policy;
  return {
    id: provenance.id,
    tenant: provenance.tenant,
    createdAt: provenance.createdAt,
    origin: provenance.jobId === null ? 'import' : 'job',
    jobId: provenance.jobId,
    prompt: metadata.prompt,
    negativePrompt: metadata.negativePrompt,
    model: metadata.model,
    reward: metadata.reward,
    sampler: metadata.sampler,
    optimizer: metadata.optimizer,
    seed: metadata.seed,
    distribution: {
      kind: distributionKind(distribution),
      components: distribution.weights.length,
      shape: [...distribution.shape],
    },
    summary: metadata.summary,
    report: metadata.report,
    imagesSpent: metadata.imagesSpent,
    seconds: provenance.seconds,
    bytes: file.byteLength,
    sha256: sha256Of(file),
    warnings: provenance.warnings,
  };
}
