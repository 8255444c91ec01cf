import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger } from 'fastify';
import { Type } from 'typebox';
import { ProblemError } from '../../contract/problem.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { responses } from '../http/route-schemas.ts';
import { checkRedis } from '../redis-checks.ts';
import type { Services } from '../services.ts';

const tags = ['service'];

/** Liveness and readiness. */
export const health: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/healthz',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'healthz',
        summary: 'Check that the process answers',
        tags,
        response: responses({ 200: Type.Object({ status: Type.Literal('ok') }) }),
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
        summary: 'Check that Redis, storage and a worker are available',
        tags,
        response: responses({
          200: Type.Object({
            status: Type.Literal('ready'),
            workers: Type.Integer(),
            warnings: Type.Array(Type.String(), {
              description: 'settings of Redis with which accepted work can be lost, and what to set',
            }),
          }),
        }),
      },
    },
    async (request) => {
      const { workers, missing, warnings } = await checkReadiness(app.services, request.log);
      if (missing.length > 0) throw new ProblemError('unavailable', missing.join(' '));
      return { status: 'ready' as const, workers, warnings: [...warnings] };
    },
  );
};

/** Counts the live workers; `missing` has a sentence for each thing that is not available. */
async function checkReadiness(
  { store, blobs, config }: Services,
  log: FastifyBaseLogger,
): Promise<{ workers: number; missing: string[]; warnings: readonly string[] }> {
  const missing: string[] = [];
  let workers = 0;
  let warnings: readonly string[] = [];
  try {
    const redis = await checkRedis(store, config);
    missing.push(...redis.missing);
    warnings = redis.warnings;
    if (missing.length > 0) return { workers, missing, warnings };
    workers = (await listWorkers(store.redis, store.keys)).length;
    if (workers === 0) missing.push('No worker is alive (npm run worker); jobs are accepted and wait.');
  } catch {
    missing.push('Redis does not answer.');
  }
  await blobs.check().catch((error: Error) => {
    // Everybody may ask, so the answer names no folder and no bucket.
    log.warn({ err: error }, 'storage is not ready');
    missing.push("Storage can't be written; the log of the API has the cause.");
  });
  return { workers, missing, warnings };
}
