import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { WorkerInfo } from '../../contract/schemas/catalog.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import { filterOwn, seesAllTenants } from '../catalog/visible-work.ts';
import { ListOf, responses } from '../http/route-schemas.ts';

/** The live workers. */
export const workers: FastifyPluginAsyncTypebox = async (app) => {
  const { redis, keys } = app.services.store;

  app.get(
    '/v1/workers',
    {
      schema: {
        operationId: 'listWorkers',
        summary:
          'List live workers with jobs of the tenant; the scope `admin` shows all jobs, `host` and `pid`',
        tags: ['catalog'],
        response: responses({ 200: ListOf(WorkerInfo) }),
      },
    },
    async ({ caller, store }) => {
      const live = await listWorkers(redis, keys);
      if (seesAllTenants(caller)) return { data: live };
      const visible = live.map(async ({ host: _host, pid: _pid, ...worker }) => ({
        ...worker,
        currentJobs: await filterOwn(store, worker.currentJobs),
      }));
      return { data: await Promise.all(visible) };
    },
  );
};
