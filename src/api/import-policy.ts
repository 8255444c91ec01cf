import { createHash } from 'node:crypto';
import type { Catalog } from '../bundles/catalog.ts';
import { chooseModel, chooseReward, promptWarnings, resolveSampler } from '../jobs/choices.ts';
import { newId } from '../jobs/ids.ts';
import { ProblemError } from '../jobs/problem.ts';
import type { SamplerRequest } from '../jobs/schemas/common.ts';
import type { PolicyRecord, Store } from '../jobs/store.ts';
import { lawKind } from '../numerics/laws/check.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { decodePolicy, PolicyFileError } from '../storage/policy-file.ts';
import { SafetensorsError } from '../storage/safetensors.ts';

interface ImportOptions {
  readonly prompt?: string;
  readonly negativePrompt?: string;
  readonly model?: string;
  readonly reward?: string;
}

/**
 * Stores a policy file as it was sent. What it is for comes from the query, else from the file's own metadata.
 * @throws ProblemError `bad-policy-file` when the file is damaged or does not fit the model; nothing is kept then
 */
export async function importPolicy(
  { store, blobs, catalog }: { readonly store: Store; readonly blobs: BlobStore; readonly catalog: Catalog },
  bytes: Uint8Array,
  options: ImportOptions,
  now: string,
): Promise<PolicyRecord> {
  const { law, metadata } = read(bytes);
  const text = (name: keyof ImportOptions) =>
    options[name] ?? (typeof metadata[name] === 'string' ? metadata[name] : undefined);
  const prompt = text('prompt');
  if (!prompt?.trim() || prompt.length > 2000) {
    throw new ProblemError(
      'not-possible',
      'The file names no usable prompt (1 to 2000 characters) in its metadata; give it as ?prompt=.',
      [{ pointer: '/prompt', message: 'is missing' }],
    );
  }
  const model = chooseModel(catalog, text('model'), '/model');
  const rewardName = text('reward') ?? model.defaults.reward;
  const reward = rewardName === null ? null : chooseReward(catalog, rewardName, '/reward');
  const sampler = resolveSampler(model, samplerOf(metadata.sampler), '/sampler');
  const expected = model.latentShape(sampler.width, sampler.height);
  if (law.shape.join() !== expected.join()) {
    throw new ProblemError(
      'bad-policy-file',
      `The law is over latents of shape [${law.shape.join(', ')}]; ${model.name} at ${sampler.width}x${sampler.height} has [${expected.join(', ')}], so "mean" has to be [K, ${expected.join(', ')}].`,
    );
  }
  const id = newId('pol');
  const negativePrompt = text('negativePrompt') ?? '';
  const record: PolicyRecord = {
    id,
    createdAt: now,
    origin: 'import',
    jobId: null,
    prompt,
    negativePrompt,
    model: model.name,
    reward: reward?.name ?? null,
    sampler,
    optimizer: isObject(metadata.optimizer) ? metadata.optimizer : null,
    seed: Number.isSafeInteger(metadata.seed) && Number(metadata.seed) >= 0 ? Number(metadata.seed) : null,
    law: { kind: lawKind(law), components: law.weights.length, shape: [...law.shape] },
    summary: isObject(metadata.summary) ? metadata.summary : {},
    // Whoever sent it may have written anything there: only what was judged here is a report.
    report: null,
    imagesSpent: null,
    seconds: null,
    bytes: bytes.byteLength,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    warnings: promptWarnings(reward ? [model, reward] : [model], prompt, negativePrompt),
  };
  await blobs.put(`policies/${id}.safetensors`, bytes);
  await store.policies.create(record);
  return record;
}

function read(bytes: Uint8Array) {
  try {
    return decodePolicy(bytes, null);
  } catch (error) {
    if (error instanceof PolicyFileError || error instanceof SafetensorsError)
      throw new ProblemError('bad-policy-file', error.message);
    throw error;
  }
}

/** The sampler in a file's metadata, as far as its values have the right types; the rest is the model's. */
function samplerOf(value: unknown): SamplerRequest {
  if (!isObject(value)) return {};
  const numbers = ['steps', 'guidanceScale', 'eta', 'width', 'height'].filter((name) => Number.isFinite(value[name]));
  return Object.fromEntries(
    [...numbers, ...(typeof value.scheduler === 'string' ? ['scheduler'] : [])].map((name) => [name, value[name]]),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
