import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { PROBLEMS, type ProblemCode, ProblemError } from '../../contract/problem.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { PROBLEM_TEXTS } from '../problem-texts.ts';
import { answers } from '../responses.ts';

const tags = ['service'];

/** Health, the contract, and what the types of problems mean. */
export const service: FastifyPluginAsyncTypebox = async (app) => {
  const { store, blobs } = app.services;

  app.get(
    '/healthz',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'healthz',
        summary: 'The process answers',
        tags,
        response: answers({ 200: Type.Object({ status: Type.Literal('ok') }) }),
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  app.get(
    '/readyz',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'readyz',
        summary: 'Redis, storage and a live worker are there',
        tags,
        response: answers({ 200: Type.Object({ status: Type.Literal('ready'), workers: Type.Integer() }) }),
      },
    },
    async () => {
      const missing: string[] = [];
      let workers = 0;
      await store.redis.ping().then(
        async () => {
          workers = (await listWorkers(store.redis, store.keys)).length;
          if (workers === 0) missing.push('no worker is alive (npm run worker); jobs are accepted and wait');
        },
        () => missing.push('Redis does not answer'),
      );
      await blobs.check().catch((error: Error) => missing.push(`storage can't be written: ${error.message}`));
      if (missing.length > 0) throw new ProblemError('unavailable', `${missing.join('; ')}.`);
      return { status: 'ready' as const, workers };
    },
  );

  app.get('/openapi.json', { logLevel: 'warn', schema: { hide: true } }, async () => app.swagger());

  app.get(
    '/problems/:code',
    {
      schema: {
        operationId: 'getProblem',
        summary: 'What a type of problem means',
        tags,
        params: Type.Object({ code: Type.String({ maxLength: 64 }) }),
        response: answers({
          200: Type.Object({
            code: Type.String(),
            title: Type.String(),
            status: Type.Integer(),
            description: Type.String(),
          }),
        }),
      },
    },
    async (request) => {
      const { code } = request.params;
      if (!Object.hasOwn(PROBLEMS, code))
        throw new ProblemError(
          'not-found',
          `There is no type of problem "${code}"; there are ${Object.keys(PROBLEMS).join(', ')}.`,
        );
      return { code, ...PROBLEMS[code as ProblemCode], description: PROBLEM_TEXTS[code as ProblemCode] };
    },
  );
};
