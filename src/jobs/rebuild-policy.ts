import { decodeTime } from 'ulid';
import { lawKind } from '../numerics/laws/check.ts';
import type { Law } from '../numerics/laws/law.ts';
import { sha256Of } from '../storage/blobs.ts';
import { PolicyFileError } from '../storage/policy-file.ts';
import type { RewardChoice, Sampler } from './schemas/common.ts';
import type { Report } from './schemas/policy.ts';
import type { JobRecord, PolicyRecord } from './store.ts';

/**
 * The record of a policy from its file alone. Its time is that of its id; how long the work on it took is not known.
 * @param job the job of its number, if there is one: only then a report is one that was made here
 * @throws PolicyFileError when the file does not say what it is for
 */
export function rebuildPolicy(
  id: string,
  bytes: Uint8Array,
  law: Law,
  metadata: { readonly [name: string]: unknown },
  job: JobRecord | null,
): PolicyRecord {
  const { prompt, negativePrompt, model, reward, sampler, optimizer, seed, imagesSpent, summary, report } = metadata;
  if (typeof prompt !== 'string' || typeof model !== 'string' || !isObject(sampler)) {
    throw new PolicyFileError('Its metadata do not have a prompt, a model and a sampler.');
  }
  const createdAt = new Date(decodeTime(id.slice(4).toUpperCase())).toISOString();
  return {
    id,
    createdAt: job?.finishedAt ?? createdAt,
    origin: job ? 'job' : 'import',
    jobId: job?.id ?? null,
    prompt,
    negativePrompt: typeof negativePrompt === 'string' ? negativePrompt : '',
    model,
    reward: typeof reward === 'string' || Array.isArray(reward) ? (reward as RewardChoice) : null,
    sampler: { clipSkip: 0, ...sampler } as Sampler,
    optimizer: isObject(optimizer) ? optimizer : null,
    seed: Number.isSafeInteger(seed) ? Number(seed) : null,
    law: { kind: lawKind(law), components: law.weights.length, shape: [...law.shape] },
    summary: isObject(summary) ? summary : {},
    report: job && isObject(report) ? (report as Report) : null,
    imagesSpent: job && Number.isInteger(imagesSpent) ? Number(imagesSpent) : null,
    seconds: null,
    bytes: bytes.byteLength,
    sha256: sha256Of(bytes),
    warnings: [],
  };
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
