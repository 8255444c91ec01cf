import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SampleRecord } from '../../contract/records.ts';
import { Nullable, Ref } from '../../contract/schemas/common.ts';
import {
  PolicySampleRequest,
  Sample,
  SamplePage,
  SampleQuery,
  SampleRequest,
} from '../../contract/schemas/sample.ts';
import { viewSample } from '../../contract/views.ts';
import { resolvePolicySample, resolveSample } from '../../jobs/resolve-request.ts';
import { submitSample } from '../../jobs/submit.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { reserveId } from '../http/idempotency.ts';
import { type WorkQuery, workFilter } from '../http/list-filter.ts';
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
      const body = (request.body as PolicySampleRequest | null) ?? {};
      return submit(request, reply, async () => {
        const policy = await request.store.policies.get(request.params.id);
        return resolvePolicySample(policy, body, await catalog.now());
      });
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
      submit(request, reply, async () => resolveSample(request.body as SampleRequest, await catalog.now())),
  );

  app.get(
    '/v1/samples',
    {
      schema: {
        operationId: 'listSamples',
        summary: 'List batches of samples, newest first',
        description:
          'Also finds a batch whose answer was lost. Besides the parameters below, `metadata.KEY=VALUE` ' +
          'selects batches whose metadata has this pair. Several pairs must all match.',
        tags,
        querystring: SampleQuery,
        response: responses({ 200: Ref(SamplePage) }),
      },
    },
    async (request) => {
      const query = request.query as WorkQuery & { readonly policyId?: string };
      const { limit = 20, after, policyId } = query;
      const isWanted = workFilter(query, ['policyId']);
      const { data, ...page } = await request.store.samples.list({
        limit,
        after,
        filter: (sample) => isWanted(sample) && (policyId === undefined || sample.policyId === policyId),
        maxSkipped: MAX_SKIPPED,
      });
      return { data: data.map(viewSample), ...page };
    },
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

/**
 * Queues a batch, and answers 200 when it has ended within `Prefer: wait`, else 202.
 * @param resolve called only for a batch that does not exist
 */
async function submit(
  request: FastifyRequest,
  reply: FastifyReply,
  resolve: () => Promise<ReturnType<typeof resolveSample>>,
): Promise<Sample> {
  const { store } = request;
  const { id, isNew } = reserveId(request, 'smp');
  if (isNew || !(await store.samples.findUnlessGone(id))) {
    const { settings, warnings } = await resolve();
    const now = new Date().toISOString();
    await submitSample(store, settings, {
      id,
      warnings,
      requestId: request.id,
      now,
      traceparent: request.span?.traceparent,
    });
    request.log.info({ sampleId: id }, 'sample queued');
  }
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
