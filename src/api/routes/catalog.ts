import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Catalog, ModelBundle, RewardBundle } from '../../bundles/catalog.ts';
import { ProblemError } from '../../contract/problem.ts';
import { Model, OptimizerInfo, Queues, Reward, WorkerInfo } from '../../contract/schemas/catalog.ts';
import { Link } from '../../contract/schemas/common.ts';
import { DEFAULT_OPTIMIZER, OPTIMIZERS } from '../../numerics/optimizers/registry.ts';
import { schedulersFor } from '../../numerics/schedulers/registry.ts';
import type { QueueName } from '../../queue/queues.ts';
import type { TenantStore } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';
import type { Caller } from '../authenticator.ts';
import { All, answers } from '../responses.ts';

const tags = ['catalog'];

/** What is installed, what it can do, and who runs it. */
export const catalog: FastifyPluginAsyncTypebox = async (app) => {
  const { store, catalog: live } = app.services;

  const loadedBy = async (name: string) =>
    (await listWorkers(store.redis, store.keys))
      .filter(({ loaded }) => loaded.includes(name))
      .map(({ id }) => id);

  const viewModel = async (model: ModelBundle, installed: Catalog): Promise<Model> => {
    const { name, title, licence, defaults, sizes } = model;
    const { reward, ...sampler } = defaults;
    return {
      object: 'model',
      name,
      title,
      licence,
      family: model.family,
      default: model === installed.models[0],
      defaults: { ...sampler, eta: 0, reward },
      sizes: sizes?.map((size) => [...size]) ?? null,
      sizeMultiple: model.sizeMultiple,
      latentShape: model.latentShape(defaults.width, defaults.height),
      promptTokens: Math.max(...model.tokenizers.map(({ window }) => window)),
      schedulers: schedulersFor(model.schedulerConfig).map((scheduler) => scheduler.name),
      available: true,
      problem: null,
      loadedBy: await loadedBy(name),
    };
  };

  const viewReward = async (reward: RewardBundle, installed: Catalog): Promise<Reward> => ({
    object: 'reward',
    name: reward.name,
    type: reward.type,
    title: reward.title,
    licence: reward.licence,
    default: reward === installed.rewards.find(({ path }) => path !== null),
    reads: [...reward.reads],
    range: reward.range && [...reward.range],
    available: true,
    problem: null,
    loadedBy: await loadedBy(reward.name),
  });

  const broken = (kind: 'model' | 'reward', installed: Catalog) =>
    installed.problems.filter((problem) => problem.kind === kind);
  const unavailable = ({ name, message }: { name: string; message: string }) =>
    ({
      name,
      title: name,
      licence: null,
      default: false,
      available: false,
      problem: message,
      loadedBy: [],
    }) as const;

  const allModels = async (installed: Catalog): Promise<Model[]> => [
    ...(await Promise.all(installed.models.map((model) => viewModel(model, installed)))),
    ...broken('model', installed).map(
      (problem): Model => ({
        object: 'model',
        ...unavailable(problem),
        loadedBy: [],
        defaults: null,
        sizes: null,
        sizeMultiple: null,
        latentShape: null,
        promptTokens: null,
        family: null,
        schedulers: [],
      }),
    ),
  ];

  app.get(
    '/v1/models',
    {
      schema: {
        operationId: 'listModels',
        summary: 'Models, usable or not',
        tags,
        response: answers({ 200: All(Model) }),
      },
    },
    async () => ({ data: await allModels(await live.now()) }),
  );

  app.get(
    '/v1/models/:name',
    {
      schema: {
        operationId: 'getModel',
        summary: 'A model',
        tags,
        params: Type.Object({ name: Type.String({ maxLength: 128 }) }),
        response: answers({ 200: Link(Model) }),
      },
    },
    async (request) => {
      const models = await allModels(await live.now());
      const found = models.find(({ name }) => name === request.params.name);
      if (!found)
        throw new ProblemError(
          'not-found',
          `There is no model "${request.params.name}"; there are: ${models.map(({ name }) => name).join(', ') || 'none'}.`,
        );
      return found;
    },
  );

  app.get(
    '/v1/rewards',
    {
      schema: {
        operationId: 'listRewards',
        summary: 'Rewards, usable or not',
        tags,
        response: answers({ 200: All(Reward) }),
      },
    },
    async () => {
      const installed = await live.now();
      return {
        data: [
          ...(await Promise.all(installed.rewards.map((reward) => viewReward(reward, installed)))),
          ...broken('reward', installed).map(
            (problem): Reward => ({
              object: 'reward',
              ...unavailable(problem),
              type: null,
              loadedBy: [],
              reads: [],
              range: null,
            }),
          ),
        ],
      };
    },
  );

  app.get(
    '/v1/optimizers',
    {
      schema: {
        operationId: 'listOptimizers',
        summary: 'Optimizers and their parameters',
        tags,
        response: answers({ 200: All(OptimizerInfo) }),
      },
    },
    async () => ({
      data: OPTIMIZERS.map(({ name, aliases, title, source, parameters }) => ({
        object: 'optimizer' as const,
        name,
        aliases: [...(aliases ?? [])],
        title,
        source,
        default: name === DEFAULT_OPTIMIZER,
        parameters,
      })),
    }),
  );

  app.get(
    '/v1/queues',
    {
      schema: {
        operationId: 'getQueues',
        summary:
          'How much work waits, and how much is in progress: of the tenant, or, for keys with `admin`, of all',
        tags,
        response: answers({ 200: Link(Queues) }),
      },
    },
    async ({ caller, store: own }) => {
      const count = (name: QueueName) => (seesAll(caller) ? store.queues.count(name) : countOwn(own, name));
      const [optimize, sample] = await Promise.all([count('optimize'), count('sample')]);
      const unfinished = optimize.waiting + optimize.active + sample.waiting + sample.active;
      return { object: 'queues' as const, optimize, sample, unfinished };
    },
  );

  app.get(
    '/v1/workers',
    {
      schema: {
        operationId: 'listWorkers',
        summary: 'Live workers; `currentJobs` names those of the tenant, or, for keys with `admin`, all',
        tags,
        response: answers({ 200: All(WorkerInfo) }),
      },
    },
    async ({ caller, store: own }) => {
      const workers = await listWorkers(store.redis, store.keys);
      if (seesAll(caller)) return { data: workers };
      const show = async (worker: WorkerInfo) => ({
        ...worker,
        currentJobs: await keepOwn(own, worker.currentJobs),
      });
      return { data: await Promise.all(workers.map(show)) };
    },
  );
};

/** Who runs the service may see how much others have to do; nobody else may. */
function seesAll(caller: Caller | null): boolean {
  return caller?.scopes.includes('admin') ?? false;
}

async function countOwn(own: TenantStore, name: QueueName): Promise<{ waiting: number; active: number }> {
  const [waiting, active] = await Promise.all([own.queues.waitingOf(own.tenant), own.queues.active(name)]);
  return { waiting: waiting[name], active: (await keepOwn(own, active)).length };
}

/** Those of some ids of jobs and samples that are the tenant's. */
async function keepOwn({ jobs, samples }: TenantStore, ids: readonly string[]): Promise<string[]> {
  const owners = await Promise.all(
    ids.map(async (id) => (await jobs.tenantOf(id)) ?? (await samples.tenantOf(id))),
  );
  return ids.filter((_, i) => owners[i] !== null);
}
