import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SampleRecord } from '../../contract/records.ts';
import { Link, Nullable } from '../../contract/schemas/common.ts';
import { PolicySampleRequest, Sample, SampleRequest } from '../../contract/schemas/sample.ts';
import { viewSample } from '../../contract/views.ts';
import { resolvePolicySample, resolveSample } from '../../jobs/resolve-request.ts';
import { submitSample } from '../../jobs/submit.ts';
import { goneSignal, preferredWait } from '../plugins/prefer.ts';
import { answers, IdInPath, json, PreferHeader } from '../responses.ts';

const tags = ['samples'];
const SUBMITTED = answers({
  200: json(
    Sample,
    'it ended within the time of `Prefer: wait`, well or not',
    'location',
    'preference-applied',
  ),
  202: json(Sample, 'accepted', 'location', 'retry-after', 'preference-applied'),
});
const hasEnded = ({ status }: SampleRecord) => status === 'succeeded' || status === 'failed';

/** Draw new images, from a learned distribution or from N(0, I). */
export const samples: FastifyPluginAsyncTypebox = async (app) => {
  const { catalog, closing } = app.services;

  const wait = async (id: string, request: FastifyRequest, reply: FastifyReply) => {
    const { store } = request;
    const milliseconds = preferredWait(request, reply);
    if (milliseconds > 0) {
      const look = async () => {
        const sample = await store.samples.get(id);
        return hasEnded(sample) ? sample : null;
      };
      await store.changes.until(id, milliseconds, look, goneSignal(reply.raw, closing));
    }
    return store.samples.get(id);
  };

  const submit = async (
    resolved: ReturnType<typeof resolveSample>,
    request: FastifyRequest,
    reply: FastifyReply,
  ) => {
    const { settings, warnings } = resolved;
    const { id } = await submitSample(request.store, settings, {
      warnings,
      requestId: request.id,
      now: new Date().toISOString(),
    });
    request.log.info({ sampleId: id }, 'sample queued');
    const sample = await wait(id, request, reply);
    reply.header('location', `/v1/samples/${id}`);
    if (!hasEnded(sample)) reply.header('retry-after', '1');
    reply.code(hasEnded(sample) ? 200 : 202);
    return viewSample(sample);
  };

  app.post(
    '/v1/policies/:id/samples',
    {
      schema: {
        operationId: 'samplePolicy',
        summary:
          'Draw new images from a learned distribution; `Prefer: wait` holds the answer until they are there',
        tags,
        params: IdInPath,
        body: Nullable(Link(PolicySampleRequest)),
        headers: PreferHeader,
        response: SUBMITTED,
      },
    },
    async (request, reply) => {
      const policy = await request.store.policies.get(request.params.id);
      return submit(
        resolvePolicySample(policy, (request.body as PolicySampleRequest | null) ?? {}, await catalog.now()),
        request,
        reply,
      );
    },
  );

  app.post(
    '/v1/samples',
    {
      schema: {
        operationId: 'createSample',
        summary: 'Draw images from the base model, N(0, I): for comparison and for plain use',
        tags,
        body: Link(SampleRequest),
        headers: PreferHeader,
        response: SUBMITTED,
      },
    },
    async (request, reply) =>
      submit(resolveSample(request.body as SampleRequest, await catalog.now()), request, reply),
  );

  app.get(
    '/v1/samples/:id',
    {
      schema: {
        operationId: 'getSample',
        summary: 'Status and images with their seeds and rewards',
        tags,
        params: IdInPath,
        headers: PreferHeader,
        response: answers({ 200: json(Sample, 'the batch', 'preference-applied') }),
      },
    },
    async (request, reply) => viewSample(await wait(request.params.id, request, reply)),
  );
};
