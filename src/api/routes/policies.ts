import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { Ref } from '../../contract/schemas/common.ts';
import { ImportQuery, Policy, PolicyPage, PolicyQuery } from '../../contract/schemas/policy.ts';
import { viewPolicy } from '../../contract/views.ts';
import { removePolicy } from '../../jobs/remove.ts';
import { policyFileKey, readStoredFile } from '../../jobs/stored-files.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { reserveId } from '../http/idempotency.ts';
import { emptyResponse, fileResponse, IdInPath, jsonResponse, responses } from '../http/route-schemas.ts';
import { isCached } from '../http/send.ts';
import { ImportLimiter } from '../policies/import-limiter.ts';
import { type ImportOptions, importPolicy } from '../policies/import-policy.ts';

const tags = ['policies'];

/** Policies, the learned distributions: list, read, download, import, delete. */
export const policies: FastifyPluginAsyncTypebox = async (app) => {
  const { blobs, catalog, config } = app.services;
  const importLimiter = new ImportLimiter(config.importLimit);
  app.addContentTypeParser(
    'application/octet-stream',
    { parseAs: 'buffer', bodyLimit: config.importLimit },
    (_request, body, done) => done(null, body),
  );

  app.get(
    '/v1/policies',
    {
      schema: {
        operationId: 'listPolicies',
        summary: 'List learned distributions, newest first',
        tags,
        querystring: PolicyQuery,
        response: responses({ 200: Ref(PolicyPage) }),
      },
    },
    async (request) => {
      const { limit = 20, after, model } = request.query;
      const { data, ...page } = await request.store.policies.list({
        limit,
        after,
        filter: (policy) => model === undefined || policy.model === model,
        maxSkipped: MAX_SKIPPED,
      });
      return { data: data.map(viewPolicy), ...page };
    },
  );

  app.get(
    '/v1/policies/:id',
    {
      schema: {
        operationId: 'getPolicy',
        summary: 'Get a learned distribution with its report and provenance',
        tags,
        params: IdInPath,
        response: responses({ 200: Ref(Policy) }),
      },
    },
    async (request) => viewPolicy(await request.store.policies.get(request.params.id)),
  );

  app.get(
    '/v1/policies/:id/parameters',
    {
      schema: {
        operationId: 'getPolicyParameters',
        summary: 'Download the distribution as safetensors: mean [K, ...shape], std, weights [K]',
        tags,
        params: IdInPath,
        response: responses({
          200: fileResponse('a safetensors file', 'application/octet-stream'),
          304: emptyResponse('not modified'),
        }),
      },
    },
    async (request, reply) => {
      const { id, sha256 } = await request.store.policies.get(request.params.id);
      if (isCached(request, reply, `"${sha256}"`)) return reply.code(304).send(null);
      const file = { key: policyFileKey(id), sha256, description: `policy ${id}` };
      const bytes = await readStoredFile(blobs, file);
      reply
        .header('content-type', 'application/octet-stream')
        .header('content-disposition', `attachment; filename="${id}.safetensors"`);
      return reply.send(Buffer.from(bytes));
    },
  );

  app.post(
    '/v1/policies',
    {
      bodyLimit: config.importLimit,
      preParsing: async (request, reply) => {
        const end = importLimiter.start(request.store.tenant, request.headers['content-length']);
        reply.raw.once('close', end);
      },
      schema: {
        operationId: 'importPolicy',
        summary: 'Import a distribution that was learned elsewhere (safetensors)',
        tags,
        querystring: ImportQuery,
        consumes: ['application/octet-stream'],
        body: {
          content: { 'application/octet-stream': { schema: Type.Unsafe<Buffer>({ format: 'binary' }) } },
        },
        response: responses({ 201: jsonResponse(Policy, 'the policy is stored', 'location') }),
      },
    },
    async (request, reply) => {
      if (!Buffer.isBuffer(request.body)) {
        throw new ProblemError(
          'unsupported-media-type',
          'A policy is sent as application/octet-stream: the bytes of a safetensors file.',
        );
      }
      const { store, body } = request;
      const { id, isNew } = reserveId(request, 'pol');
      let record = isNew ? null : await store.policies.findUnlessGone(id);
      if (!record) {
        const context = { store, blobs, catalog: await catalog.now() };
        const options = request.query as ImportOptions;
        record = await importPolicy(context, id, body, options, new Date().toISOString());
        request.log.info({ policyId: id }, 'policy imported');
      }
      return reply.code(201).header('location', `/v1/policies/${id}`).send(viewPolicy(record));
    },
  );

  app.delete(
    '/v1/policies/:id',
    {
      schema: {
        operationId: 'deletePolicy',
        summary: 'Delete a distribution and its samples; afterwards they answer 410',
        tags,
        params: IdInPath,
        response: responses({ 204: emptyResponse('deleted') }),
      },
    },
    async (request, reply) => {
      await removePolicy(request.store, blobs, request.params.id, new Date().toISOString());
      request.log.info('policy deleted');
      return reply.code(204).send(null);
    },
  );
};
