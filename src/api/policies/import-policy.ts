import type { FastifySchemaValidationError } from 'fastify';
import type { Catalog } from '../../bundles/catalog.ts';
import { ProblemError } from '../../contract/problem.ts';
import type { PolicyRecord } from '../../contract/records.ts';
import {
  Ref,
  RewardChoice,
  type RewardChoiceRequest,
  SamplerRequest,
} from '../../contract/schemas/common.ts';
import { ImportQuery } from '../../contract/schemas/policy.ts';
import { isObject } from '../../core/is-object.ts';
import { archivePolicy } from '../../jobs/archive.ts';
import { chooseModel, chooseTerms, toRewardChoice } from '../../jobs/choose-bundles.ts';
import { createPolicyRecord } from '../../jobs/policy-record.ts';
import { promptWarnings } from '../../jobs/request-warnings.ts';
import { resolveSampler } from '../../jobs/resolve-sampler.ts';
import { policyFileKey } from '../../jobs/stored-files.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { TenantStore } from '../../store/store.ts';
import { checkStorageQuota } from '../../tenancy/quota.ts';
import { describeValidation } from '../http/describe-validation.ts';
import { createAjv } from '../plugins/validation.ts';
import { openUpload } from './open-upload.ts';

/** The query of an import. Each value takes precedence over the file's metadata. */
export interface ImportOptions {
  readonly prompt?: string;
  readonly negativePrompt?: string;
  readonly model?: string;
  readonly reward?: string;
}

type Metadata = { readonly [name: string]: unknown };

/** What the distribution is for: the part of the metadata that decides how samples are made. */
type Purpose = Omit<ImportOptions, 'reward'> & {
  readonly prompt: string;
  readonly reward?: RewardChoiceRequest;
  readonly sampler: SamplerRequest;
};
const isPurpose = createAjv(false).compile<Purpose>({
  type: 'object',
  required: ['prompt'],
  properties: { ...ImportQuery.properties, reward: Ref(RewardChoice), sampler: Ref(SamplerRequest) },
});

/**
 * Longest JSON of an object that is copied from a file into the record, because lists return it.
 */
const MAX_COPIED_CHARACTERS = 16_384;

/**
 * Stores a policy file, byte for byte, with a record of it.
 * @param id of the policy
 * @param sent bytes of a safetensors file; a large buffer is moved and can't be used afterwards
 * @param now RFC 3339
 * @throws ProblemError `bad-policy-file` when the file is damaged or does not fit the model,
 *   `not-possible` when its metadata is unusable, `quota-exceeded`; nothing is stored then
 */
export async function importPolicy(
  context: { readonly store: TenantStore; readonly blobs: BlobStore; readonly catalog: Catalog },
  id: string,
  sent: Uint8Array,
  options: ImportOptions,
  now: string,
): Promise<PolicyRecord> {
  const { store, blobs, catalog } = context;
  const { file, content, metadata } = await openUpload(sent);
  const purpose = readPurpose(metadata, options);
  const { prompt, negativePrompt = '' } = purpose;
  const model = chooseModel(catalog, purpose.model, '/model');
  const reward = purpose.reward ?? model.defaults.reward;
  const terms = reward === null ? null : chooseTerms(catalog, reward, '/reward');
  const sampler = resolveSampler(model, purpose.sampler, '/sampler');
  const shape = model.latentShape(sampler.width, sampler.height);
  if (content.distribution.shape.join() !== shape.join()) {
    const expected = shape.join(', ');
    throw new ProblemError(
      'bad-policy-file',
      `The distribution is over latents of shape [${content.distribution.shape.join(', ')}], ` +
        `but ${model.name} at ${sampler.width}x${sampler.height} has [${expected}]. ` +
        `"mean" must be [K, ${expected}].`,
    );
  }
  const record = createPolicyRecord({
    content,
    metadata: {
      prompt,
      negativePrompt,
      model: model.name,
      reward: terms && toRewardChoice(terms),
      sampler,
      optimizer: smallObject(metadata.optimizer),
      seed: seedOf(metadata.seed),
      summary: smallObject(metadata.summary) ?? {},
      // The sender may have written anything there; only this service's own reports are shown.
      report: null,
      imagesSpent: null,
    },
    provenance: {
      id,
      tenant: store.tenant,
      createdAt: now,
      jobId: null,
      seconds: null,
      warnings: promptWarnings([model, ...(terms ?? []).map((term) => term.reward)], prompt, negativePrompt),
    },
  });
  await checkStorageQuota(store, file.byteLength);
  await blobs.put(policyFileKey(record.id), file);
  await archivePolicy(blobs, record);
  await store.policies.create(record);
  return record;
}

/**
 * Reads the purpose from the query, else from the file. It is validated like a request for a job.
 */
function readPurpose(metadata: Metadata, options: ImportOptions): Purpose {
  const stated = (['prompt', 'negativePrompt', 'model', 'reward'] as const).filter(
    (name) => typeof metadata[name] === 'string' || (name === 'reward' && Array.isArray(metadata[name])),
  );
  const purpose: unknown = {
    ...Object.fromEntries(stated.map((name) => [name, metadata[name]])),
    ...options,
    sampler: readSampler(metadata.sampler),
  };
  if (isPurpose(purpose)) return purpose;
  const errors = ((isPurpose.errors ?? []) as FastifySchemaValidationError[]).map((error) =>
    describeValidation(error),
  );
  const sentences = errors.map(({ pointer, message }) => `${pointer} ${message}`);
  throw new ProblemError(
    'not-possible',
    `The file's metadata can't be used: ${sentences.join('; ')}. ` +
      'Values that the file lacks are taken from the query, as ?prompt= (1 to 2000 characters).',
    errors,
  );
}

/**
 * The values of a file's sampler that have the right type; the model's defaults replace the others.
 */
function readSampler(value: unknown): SamplerRequest {
  if (!isObject(value)) return {};
  const numbers = ['steps', 'guidanceScale', 'eta', 'clipSkip', 'width', 'height'];
  const usable = numbers.filter((name) => Number.isFinite(value[name]));
  if (typeof value.scheduler === 'string') usable.push('scheduler');
  return Object.fromEntries(usable.map((name) => [name, value[name]]));
}

/** An object of a file, if it is small enough for the record. */
function smallObject(value: unknown): Record<string, unknown> | null {
  return isObject(value) && JSON.stringify(value).length <= MAX_COPIED_CHARACTERS ? value : null;
}

function seedOf(value: unknown): number | null {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : null;
}
