import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Queues } from '../../contract/schemas/catalog.ts';
import { Ref } from '../../contract/schemas/common.ts';
import type { QueueName } from '../../queue/queues.ts';
import type { TenantStore } from '../../store/store.ts';
import { countsAllTenants, filterOwn } from '../catalog/visible-work.ts';
import { responses } from '../http/route-schemas.ts';

/** The queues of jobs and samples. */
export const queues: FastifyPluginAsyncTypebox = async (app) => {
  const { store: shared } = app.services;

  app.get(
    '/v1/queues',
    {
      config: { scope: ['read', 'metrics:read'] },
      schema: {
        operationId: 'getQueues',
        summary:
          'Count waiting and active work of the tenant; ' +
          'for keys with the scope `metrics:read` or `admin`, of all tenants',
        tags: ['catalog'],
        response: responses({ 200: Ref(Queues) }),
      },
    },
    async ({ caller, store }) => {
      const count = (name: QueueName) =>
        countsAllTenants(caller) ? shared.queues.count(name) : countOwn(store, name);
      const [optimize, sample] = await Promise.all([count('optimize'), count('sample')]);
      const unfinished = optimize.waiting + optimize.active + sample.waiting + sample.active;
      return { object: 'queues' as const, optimize, sample, unfinished };
    },
  );
};

async function countOwn(store: TenantStore, name: QueueName): Promise<{ waiting: number; active: number }> {
  const { queues, tenant } = store;
  const [waiting, active] = await Promise.all([queues.waitingOf(tenant), queues.active(name)]);
  return { waiting: waiting[name], active: (await filterOwn(store, active)).length };
}
