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

/** What the record says of the file. */
export type PolicyContent = Pick<PolicyRecord, 'distribution' | 'bytes' | 'sha256'>;

/**
 * Describes a policy's file for its record. Takes milliseconds for each 10 MB.
 * @param file the bytes of the safetensors file
 * @param distribution the distribution in `file`
 */
export function describePolicyFile(file: Uint8Array, distribution: NoiseDistribution): PolicyContent {
  return {
    distribution: {
      kind: distributionKind(distribution),
      components: distribution.weights.length,
      shape: [...distribution.shape],
    },
    bytes: file.byteLength,
    sha256: sha256Of(file),
  };
}

/** The record of a policy that a job learned, a client imported, or reindexing found in storage. */
export function createPolicyRecord(policy: {
  readonly content: PolicyContent;
  readonly metadata: PolicyMetadata;
  /** Without a job, the policy was imported. */
  readonly provenance: PolicyProvenance;
}): PolicyRecord {
  const { content, metadata, provenance } = policy;
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
    distribution: content.distribution,
    summary: metadata.summary,
    report: metadata.report,
    imagesSpent: metadata.imagesSpent,
    seconds: provenance.seconds,
    bytes: content.bytes,
    sha256: content.sha256,
    warnings: provenance.warnings,
  };
}
