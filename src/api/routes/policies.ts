import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import type { PolicyRecord } from '../../contract/records.ts';
import { Link } from '../../contract/schemas/common.ts';
import { ImportQuery, Policy, PolicyPage, PolicyQuery } from '../../contract/schemas/policy.ts';
import { viewPolicy } from '../../contract/views.ts';
import { toDamageProblem } from '../../jobs/damage.ts';
import { removePolicy } from '../../jobs/remove.ts';
import { MAX_SKIPPED } from '../../records/records.ts';
import { ImportLimiter } from '../import-limiter.ts';
import { importPolicy } from '../import-policy.ts';
import { answers, file, IdInPath, json } from '../responses.ts';

const tags = ['policies'];

/** The learned distributions: list, look at, download, bring in, delete. */
export const policies: FastifyPluginAsyncTypebox = async (app) => {
  const { blobs, catalog, config } = app.services;
  const gate = new ImportLimiter(config.importLimit);
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
        summary: 'Learned distributions, newest first',
        tags,
        querystring: PolicyQuery,
        response: answers({ 200: Link(PolicyPage) }),
      },
    },
    async (request) => {
      const {
        limit = 20,
        after,
        model,
      } = request.query as { limit?: number; after?: string; model?: string };
      const accept = (policy: PolicyRecord) => model === undefined || policy.model === model;
      const { data, ...page } = await request.store.policies.list({
        limit,
        after,
        accept,
        mostPassed: MAX_SKIPPED,
      });
      return { data: data.map(viewPolicy), ...page };
    },
  );

  app.get(
    '/v1/policies/:id',
    {
      schema: {
        operationId: 'getPolicy',
        summary: 'A learned distribution with its report and provenance',
        tags,
        params: IdInPath,
        response: answers({ 200: Link(Policy) }),
      },
    },
    async (request) => viewPolicy(await request.store.policies.get(request.params.id)),
  );

  app.get(
    '/v1/policies/:id/parameters',
    {
      schema: {
        operationId: 'getPolicyParameters',
        summary: 'The distribution as safetensors: mean [K, ...shape], std, weights [K]',
        tags,
        params: IdInPath,
        response: answers({
          200: file('a safetensors file', 'application/octet-stream'),
          304: { description: 'not modified', type: 'null' },
        }),
      },
    },
    async (request, reply) => {
      const policy = await request.store.policies.get(request.params.id);
      const etag = `"${policy.sha256}"`;
      reply.header('etag', etag).header('cache-control', 'private, max-age=31536000, immutable');
      if (request.headers['if-none-match']?.includes(etag)) return reply.code(304).send(null);
      const key = `policies/${policy.id}.safetensors`;
      const bytes = await blobs.get(key, { sha256: policy.sha256 }).catch(toDamageProblem);
      if (!bytes)
        throw new ProblemError(
          'not-found',
          `The file of policy ${policy.id} is not in storage; was FINDERY_DATA changed or cleared?`,
        );
      reply
        .header('content-type', 'application/octet-stream')
        .header('content-disposition', `attachment; filename="${policy.id}.safetensors"`);
      return reply.send(Buffer.from(bytes));
    },
  );

  app.post(
    '/v1/policies',
    {
      bodyLimit: config.importLimit,
      preParsing: async (request, reply) => {
        const leave = gate.enter(request.store.tenant, request.headers['content-length']);
        reply.raw.once('close', leave); // answered, or given up
      },
      schema: {
        operationId: 'importPolicy',
        summary: 'Bring in a distribution that was learned elsewhere (safetensors)',
        tags,
        querystring: ImportQuery,
        consumes: ['application/octet-stream'],
        body: {
          content: { 'application/octet-stream': { schema: Type.Unsafe<Buffer>({ format: 'binary' }) } },
        },
        response: answers({ 201: json(Policy, 'it is stored', 'location') }),
      },
    },
    async (request, reply) => {
      if (!Buffer.isBuffer(request.body)) {
        throw new ProblemError(
          'unsupported-media-type',
          'A policy is sent as application/octet-stream: the bytes of a safetensors file.',
        );
      }
      const record = await importPolicy(
        { store: request.store, blobs, catalog: await catalog.now() },
        request.body,
        request.query as Parameters<typeof importPolicy>[2],
        new Date().toISOString(),
      );
      request.log.info({ policyId: record.id }, 'policy imported');
      return reply.code(201).header('location', `/v1/policies/${record.id}`).send(viewPolicy(record));
    },
  );

  app.delete(
    '/v1/policies/:id',
    {
      schema: {
        operationId: 'deletePolicy',
        summary: 'Delete a distribution with its samples; afterwards 410',
        tags,
        params: IdInPath,
        response: answers({ 204: { description: 'deleted', type: 'null' } }),
      },
    },
    async (request, reply) => {
      await removePolicy(request.store, blobs, request.params.id, new Date().toISOString());
      request.log.info('policy deleted');
      return reply.code(204).send(null);
    },
  );
};
