import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import sharp from 'sharp';
import { Type } from 'typebox';
import { type IdKind, newId } from '../../contract/ids.ts';
import { type ProblemCode, ProblemError } from '../../contract/problem.ts';
import type { JobRecord, PolicyRecord, SampleRecord } from '../../contract/records.ts';
import { Ref } from '../../contract/schemas/common.ts';
import { CreatedImages, CreateImageRequest } from '../../contract/schemas/create-image.ts';
import { FINAL_STATUSES } from '../../contract/schemas/job.ts';
import { resolveJob, resolvePolicySample, resolveSample } from '../../jobs/resolve-request.ts';
import { readStoredFile } from '../../jobs/stored-files.ts';
import { submitJob, submitSample } from '../../jobs/submit.ts';
import { negotiateType } from '../http/content-negotiation.ts';
import { reserveKey } from '../http/idempotency.ts';
import { disconnectSignal, preferredWait } from '../http/prefer.ts';
import { jsonResponse, PreferHeader, responses } from '../http/route-schemas.ts';

/** Images that a search spends without a `budget`: on two CPU cores it fits into the wait. */
const DEFAULT_SEARCH_IMAGES = 100;
const MAX_WAIT_MS = 60_000;
const JSON_TYPE = 'application/json';
const PICTURE_TYPES = { 'image/png': 'png', 'image/webp': 'webp', 'image/jpeg': 'jpeg' } as const;
type PictureType = keyof typeof PICTURE_TYPES;
const ANSWER_TYPES = [JSON_TYPE, ...(Object.keys(PICTURE_TYPES) as PictureType[])] as const;

const CreateHeaders = Type.Object({
  ...PreferHeader.properties,
  'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
});

/** What a request is working on: a search with samples at its end, or samples alone. */
type Work =
  | { readonly kind: 'job'; readonly record: JobRecord }
  | { readonly kind: 'sample'; readonly record: SampleRecord };

/** Images for a prompt in one request, after OpenAI's `POST /images/generations`. */
export const createImage: FastifyPluginAsyncTypebox = async (app) => {
  const { catalog, blobs, closing } = app.services;
  const binary = { schema: Type.Unsafe<unknown>({ type: 'string', format: 'binary' }) };

  app.post(
    '/v1/images',
    {
      // A search needs more: `startSearch` checks it.
      config: { scope: 'samples:write' },
      schema: {
        operationId: 'createImage',
        summary: 'Make images for a prompt, and wait for them',
        description:
          'Searches for the prompt and draws `n` images from the learned distribution. ' +
          'With `policy`, it draws from that policy; with `"optimize": false`, from the base model. ' +
          'The answer waits up to 60 s (`Prefer: wait=SECONDS` for less, `Prefer: respond-async` for none). ' +
          'Then it is 202, and `Location` is the address of the job or sample. ' +
          'With `Accept: image/png` (or webp, jpeg) and one image, the answer is the image itself.',
        tags: ['samples'],
        headers: CreateHeaders,
        body: Ref(CreateImageRequest),
        response: responses({
          200: {
            ...jsonResponse(CreatedImages, 'the images', 'location', 'preference-applied'),
            content: {
              [JSON_TYPE]: { schema: Ref(CreatedImages) },
              'image/png': binary,
              'image/webp': binary,
              'image/jpeg': binary,
            },
          },
          202: jsonResponse(CreatedImages, 'still at work', 'location', 'retry-after', 'preference-applied'),
        }),
      },
    },
    async (request, reply) => {
      const body = request.body as CreateImageRequest;
      const type = negotiate(request, body);
      checkRequest(body);
      const started = isSearch(body) ? await startSearch(request, body) : await startSample(request, body);
      const work = await wait(started, request, reply);
      reply.header('location', `/v1/${work.kind === 'job' ? 'jobs' : 'samples'}/${work.record.id}`);
      const sample = await sampleOf(work, request);
      if (!sample) {
        reply.code(202).header('retry-after', '1');
        return view(work, null, []);
      }
      if (type !== JSON_TYPE) {
        const [image] = sample.images;
        if (!image) throw new ProblemError('internal', `The sample ${sample.id} has no image.`);
        reply.type(type);
        return reply.send(await readImage(request, image.id, PICTURE_TYPES[type]));
      }
      const asBytes = body.response_format === 'b64_json';
      const data = sample.images.map(async ({ id, url, seed, index, reward }) => ({
        id,
        ...(asBytes
          ? { b64_json: (await readImage(request, id, body.output_format ?? 'png')).toString('base64') }
          : { url: new URL(url, `${request.protocol}://${request.host}`).href }),
        seed,
        index,
        reward,
      }));
      return view(work, sample, await Promise.all(data));
    },
  );

  async function startSearch(request: FastifyRequest, body: CreateImageRequest): Promise<Work> {
    const { store, caller } = request;
    if (caller && !caller.scopes.some((scope) => scope === 'jobs:write' || scope === 'admin'))
      throw new ProblemError(
        'forbidden',
        'A search asks for a key with the scope jobs:write; name a policy, or send "optimize": false.',
      );
    const { id, isNew } = await reserve(request, 'job');
    const known = isNew ? null : await store.jobs.find(id);
    if (known) return { kind: 'job', record: known };
    const { prompt = '', n = 1, model, reward, seed, budget } = body;
    const resolved = resolveJob(
      {
        prompt,
        model,
        reward,
        seed,
        budget: { images: DEFAULT_SEARCH_IMAGES, ...budget },
        samples: n,
        reportDraws: 0,
        sampler: sizeOf(body),
      },
      await catalog.now(),
    );
    await submitJob(store, resolved.settings, { id, warnings: resolved.warnings, ...origin(request) });
    return { kind: 'job', record: await store.jobs.get(id) };
  }

  async function startSample(request: FastifyRequest, body: CreateImageRequest): Promise<Work> {
    const { store } = request;
    const policy = body.policy === undefined ? null : await store.policies.get(body.policy);
    if (policy) checkPolicy(body, policy);
    const { id, isNew } = await reserve(request, 'smp');
    const known = isNew ? null : await store.samples.find(id);
    if (known) return { kind: 'sample', record: known };
    const { prompt = '', n = 1, model, reward, seed, output_format: format } = body;
    const shared = { count: n, reward, seed, format, ...sizeOf(body) };
    const resolved = policy
      ? resolvePolicySample(policy, shared, await catalog.now())
      : resolveSample({ prompt, model, ...shared }, await catalog.now());
    const record = await submitSample(store, resolved.settings, {
      id,
      warnings: resolved.warnings,
      ...origin(request),
    });
    return { kind: 'sample', record };
  }

  /** The work as it is when it has ended, or when the wait is over. */
  async function wait(work: Work, request: FastifyRequest, reply: FastifyReply): Promise<Work> {
    const { store } = request;
    const { id } = work.record;
    const read = async (): Promise<Work> =>
      work.kind === 'job'
        ? { kind: 'job', record: await store.jobs.get(id) }
        : { kind: 'sample', record: await store.samples.get(id) };
    const milliseconds = isAsync(request)
      ? 0
      : request.headers.prefer === undefined
        ? MAX_WAIT_MS
        : preferredWait(request, reply);
    if (milliseconds > 0) {
      const ended = async () => {
        const now = await read();
        return FINAL_STATUSES.some((status) => status === now.record.status) ? now : null;
      };
      await store.changes.waitFor(id, milliseconds, ended, disconnectSignal(reply.raw, closing));
    }
    return read();
  }

  async function readImage(request: FastifyRequest, id: string, format: 'png' | 'webp' | 'jpeg') {
    const image = await request.store.images.get(id);
    const bytes = await readStoredFile(blobs, { ...image, description: `image ${id}` });
    return image.format === format ? Buffer.from(bytes) : sharp(bytes).toFormat(format).toBuffer();
  }
};

/** The batch of images; null: it is not finished. Throws the problem of work that failed. */
async function sampleOf(work: Work, { store }: FastifyRequest): Promise<SampleRecord | null> {
  const { record } = work;
  if (record.error) {
    // Records hold only codes that a ProblemError had.
    const code = record.error.code as ProblemCode;
    throw new ProblemError(code, `${record.id} failed: ${record.error.detail}`, record.error.errors);
  }
  if (record.status === 'canceled' || record.status === 'expired')
    throw new ProblemError('conflict', `The job ${record.id} ended (${record.status}) without images.`);
  if (record.status !== 'succeeded') return null;
  if (work.kind === 'sample') return work.record;
  return work.record.sampleId === null ? null : store.samples.get(work.record.sampleId);
}

function view(work: Work, sample: SampleRecord | null, data: CreatedImages['data']): CreatedImages {
  const { record } = work;
  return {
    created: Math.floor(Date.parse(record.createdAt) / 1000),
    status: record.status,
    data,
    job: work.kind === 'job' ? record.id : null,
    policy: work.record.policyId,
    sample: sample?.id ?? (work.kind === 'sample' ? record.id : null),
  };
}

const isSearch = ({ policy, optimize }: CreateImageRequest) => optimize ?? policy === undefined;

/** @throws ProblemError for members that exclude each other */
function checkRequest({ prompt, policy, optimize, budget }: CreateImageRequest): void {
  if (policy === undefined) {
    if (prompt === undefined)
      refuse('/prompt', 'is missing', 'A prompt is missing; send one, or the id of a policy.');
    if (optimize === false && budget !== undefined)
      refuse('/budget', 'belongs to a search', 'A budget belongs to a search, but "optimize" is false.');
    return;
  }
  if (optimize)
    refuse('/optimize', 'false, or left out', 'A policy is the result of a search: leave "optimize" out.');
  if (budget !== undefined)
    refuse('/budget', 'belongs to a search', 'A policy is the result of a search: leave "budget" out.');
}

/**
 * Clients of OpenAI's API always send a prompt and a model, so those of the policy are accepted.
 * @throws ProblemError for other ones
 */
function checkPolicy(body: CreateImageRequest, policy: PolicyRecord): void {
  for (const name of ['prompt', 'model'] as const)
    if (body[name] !== undefined && body[name] !== policy[name])
      refuse(
        `/${name}`,
        "differs from the policy's",
        `The policy ${policy.id} was learned for the ${name} "${policy[name]}"; leave "${name}" out.`,
      );
}

function refuse(pointer: string, message: string, detail: string): never {
  throw new ProblemError('not-possible', detail, [{ pointer, message }]);
}

function sizeOf({ size = 'auto' }: CreateImageRequest): { width: number; height: number } | undefined {
  if (size === 'auto') return undefined;
  const [width = 0, height = 0] = size.split('x').map(Number);
  return { width, height };
}

/** @throws ProblemError `not-acceptable` for other types, and for a picture when `n` is above 1 */
function negotiate(request: FastifyRequest, { n = 1 }: CreateImageRequest): (typeof ANSWER_TYPES)[number] {
  const type = negotiateType(request.headers.accept, ANSWER_TYPES);
  if (type === null)
    throw new ProblemError(
      'not-acceptable',
      `Accept is "${request.headers.accept}"; the answer can be ${ANSWER_TYPES.join(', ')}.`,
    );
  if (type !== JSON_TYPE && n > 1)
    throw new ProblemError('not-acceptable', `One picture can be the answer, not ${n}: accept ${JSON_TYPE}.`);
  return type;
}

function isAsync({ headers }: FastifyRequest): boolean {
  return /(^|[,;\s])respond-async(?=$|[,;\s])/i.test([headers.prefer ?? ''].flat().join(','));
}

function reserve(request: FastifyRequest, kind: IdKind): Promise<{ id: string; isNew: boolean }> {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string') return Promise.resolve({ id: newId(kind), isNew: true });
  return reserveKey(request.store, kind, key, request.body);
}

const origin = (request: FastifyRequest) => ({ requestId: request.id, now: new Date().toISOString() });
