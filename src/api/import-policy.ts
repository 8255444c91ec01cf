import type { FastifySchemaValidationError } from 'fastify';
import type { Catalog } from '../bundles/catalog.ts';
import { newId } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import type { PolicyRecord } from '../contract/records.ts';
import { Link, RewardChoice, type RewardChoiceRequest, SamplerRequest } from '../contract/schemas/common.ts';
import { ImportQuery } from '../contract/schemas/policy.ts';
import { archivePolicy } from '../jobs/archive.ts';
import {
  chooseModel,
  chooseTerms,
  nameTerms,
  promptWarnings,
  resolveSampler,
} from '../jobs/resolve-bundles.ts';
import { distributionKind } from '../numerics/distributions/check.ts';
import { sha256Of } from '../sha256.ts';
import type { BlobStore } from '../storage/blobs.ts';
import { decodePolicy, PolicyFileError } from '../storage/policy-file.ts';
import { SafetensorsError } from '../storage/safetensors.ts';
import type { TenantStore } from '../store/store.ts';
import { checkSpace } from '../tenancy/quota.ts';
import { createAjv, describeValidation } from './plugins/validation.ts';

interface ImportOptions {
  readonly prompt?: string;
  readonly negativePrompt?: string;
  readonly model?: string;
  readonly reward?: string;
}

type Use = Omit<ImportOptions, 'reward'> & {
  readonly prompt: string;
  readonly reward?: RewardChoiceRequest;
  readonly sampler: SamplerRequest;
};
const USES = ['prompt', 'negativePrompt', 'model', 'reward'] as const;
const isUse = createAjv(false).compile<Use>({
  type: 'object',
  required: ['prompt'],
  properties: { ...ImportQuery.properties, reward: Link(RewardChoice), sampler: Link(SamplerRequest) },
});

/**
 * Stores a policy file as it was sent. What it is for comes from the query, else from the file's own metadata.
 * @throws ProblemError `bad-policy-file` when the file is damaged or does not fit the model, `quota-exceeded`; nothing is kept then
 */
export async function importPolicy(
  {
    store,
    blobs,
    catalog,
  }: { readonly store: TenantStore; readonly blobs: BlobStore; readonly catalog: Catalog },
  bytes: Uint8Array,
  options: ImportOptions,
  now: string,
): Promise<PolicyRecord> {
  const { distribution, metadata } = read(bytes);
  const asked = readUse(metadata, options);
  const { prompt, negativePrompt = '' } = asked;
  const model = chooseModel(catalog, asked.model, '/model');
  const wanted = asked.reward ?? model.defaults.reward;
  const terms = wanted === null ? null : chooseTerms(catalog, wanted, '/reward');
  const sampler = resolveSampler(model, asked.sampler, '/sampler');
  const expected = model.latentShape(sampler.width, sampler.height);
  if (distribution.shape.join() !== expected.join()) {
    throw new ProblemError(
      'bad-policy-file',
      `The distribution is over latents of shape [${distribution.shape.join(', ')}]; ${model.name} at ${sampler.width}x${sampler.height} has [${expected.join(', ')}], so "mean" has to be [K, ${expected.join(', ')}].`,
    );
  }
  const id = newId('pol');
  const record: PolicyRecord = {
    id,
    tenant: store.tenant,
    createdAt: now,
    origin: 'import',
    jobId: null,
    prompt,
    negativePrompt,
    model: model.name,
    reward: terms && nameTerms(terms),
    sampler,
    optimizer: isNote(metadata.optimizer) ? metadata.optimizer : null,
    seed: Number.isSafeInteger(metadata.seed) && Number(metadata.seed) >= 0 ? Number(metadata.seed) : null,
    distribution: {
      kind: distributionKind(distribution),
      components: distribution.weights.length,
      shape: [...distribution.shape],
    },
    summary: isNote(metadata.summary) ? metadata.summary : {},
    // Whoever sent it may have written anything there: only what was judged here is a report.
    report: null,
    imagesSpent: null,
    seconds: null,
    bytes: bytes.byteLength,
    sha256: sha256Of(bytes),
    warnings: promptWarnings([model, ...(terms ?? []).map(({ reward }) => reward)], prompt, negativePrompt),
  };
  await checkSpace(store, bytes.byteLength);
  await blobs.put(`policies/${id}.safetensors`, bytes);
  await archivePolicy(blobs, record);
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

/** What the distribution is for, from the query, else from the file; both have to be what a request for a job has to be. */
function readUse(metadata: { readonly [name: string]: unknown }, options: ImportOptions): Use {
  const isSaid = (name: (typeof USES)[number]) =>
    typeof metadata[name] === 'string' || (name === 'reward' && Array.isArray(metadata[name]));
  const own = USES.filter(isSaid).map((name) => [name, metadata[name]]);
  const use: unknown = { ...Object.fromEntries(own), ...options, sampler: samplerOf(metadata.sampler) };
  if (isUse(use)) return use;
  const errors = (isUse.errors ?? []).map((error) =>
    describeValidation(error as FastifySchemaValidationError),
  );
  throw new ProblemError(
    'not-possible',
    `The file's metadata can't be used: ${errors.map(({ pointer, message }) => `${pointer} ${message}`).join('; ')}. What is not in the file is taken from the query, as ?prompt= (1 to 2000 characters).`,
    errors,
  );
}

/** The sampler in a file's metadata, as far as its values have the right types; the rest is the model's. */
function samplerOf(value: unknown): SamplerRequest {
  if (!isObject(value)) return {};
  const numbers = ['steps', 'guidanceScale', 'eta', 'clipSkip', 'width', 'height'].filter((name) =>
    Number.isFinite(value[name]),
  );
  return Object.fromEntries(
    [...numbers, ...(typeof value.scheduler === 'string' ? ['scheduler'] : [])].map((name) => [
      name,
      value[name],
    ]),
  );
}

/** Whether a stranger's object is small enough to be kept in the record, which lists hand out. */
function isNote(value: unknown): value is Record<string, unknown> {
  return isObject(value) && JSON.stringify(value).length <= 16_384;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
