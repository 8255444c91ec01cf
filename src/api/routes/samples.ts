import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SampleRecord } from '../../contract/records.ts';
import { Nullable, Ref } from '../../contract/schemas/common.ts';
import { PolicySampleRequest, Sample, SampleRequest } from '../../contract/schemas/sample.ts';
import { viewSample } from '../../contract/views.ts';
import { resolvePolicySample, resolveSample } from '../../jobs/resolve-request.ts';
import { submitSample } from '../../jobs/submit.ts';
import { preferredWait, readWhen } from '../http/prefer.ts';
import { IdInPath, jsonResponse, PreferHeader, responses } from '../http/route-schemas.ts';

const tags = ['samples'];
const SUBMITTED = responses({
  200: jsonResponse(
    Sample,
    'the batch succeeded or failed within the time of `Prefer: wait`',
    'location',
    'preference-applied',
  ),
  202: jsonResponse(Sample, 'the batch is queued or runs', 'location', 'retry-after', 'preference-applied'),
});

/** Samples: batches of new images from a learned distribution or from N(0, I). */
export const samples: FastifyPluginAsyncTypebox = async (app) => {
  const { catalog } = app.services;

  app.post(
    '/v1/policies/:id/samples',
    {
      schema: {
        operationId: 'samplePolicy',
        summary:
          'Sample images from a learned distribution; `Prefer: wait` holds the response until they exist',
        tags,
        params: IdInPath,
        body: Nullable(Ref(PolicySampleRequest)),
        headers: PreferHeader,
        response: SUBMITTED,
      },
    },
    async (request, reply) => {
      const policy = await request.store.policies.get(request.params.id);
      const body = (request.body as PolicySampleRequest | null) ?? {};
      return submit(request, reply, resolvePolicySample(policy, body, await catalog.now()));
    },
  );

  app.post(
    '/v1/samples',
    {
      schema: {
        operationId: 'createSample',
        summary: 'Sample images from the base model, N(0, I), for comparison or plain use',
        tags,
        body: Ref(SampleRequest),
        headers: PreferHeader,
        response: SUBMITTED,
      },
    },
    async (request, reply) =>
      submit(request, reply, resolveSample(request.body as SampleRequest, await catalog.now())),
  );

  app.get(
    '/v1/samples/:id',
    {
      schema: {
        operationId: 'getSample',
        summary: 'Get a batch: its status, and its images with seeds and rewards',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: responses({ 200: jsonResponse(Sample, 'the batch', 'preference-applied') }),
      },
    },
    async (request, reply) => viewSample(await readEnded(request, reply, request.params.id)),
  );
};

/** Queues a batch, and answers 200 when it has ended within `Prefer: wait`, else 202. */
async function submit(
  request: FastifyRequest,
  reply: FastifyReply,
  { settings, warnings }: ReturnType<typeof resolveSample>,
): Promise<Sample> {
  const now = new Date().toISOString();
  const { id } = await submitSample(request.store, settings, { warnings, requestId: request.id, now });
  request.log.info({ sampleId: id }, 'sample queued');
  const sample = await readEnded(request, reply, id);
  reply.header('location', `/v1/samples/${id}`);
  if (hasEnded(sample)) reply.code(200);
  else reply.code(202).header('retry-after', '1');
  return viewSample(sample);
}

/** Reads a batch, held as `Prefer: wait` asks until it has ended. */
function readEnded(request: FastifyRequest, reply: FastifyReply, id: string): Promise<SampleRecord> {
  return readWhen(request, reply, {
    id,
    milliseconds: preferredWait(request, reply),
    read: () => request.store.samples.get(id),
    isReached: hasEnded,
  });
}

function hasEnded({ status }: SampleRecord): boolean {
  return status === 'succeeded' || status === 'failed';
}
