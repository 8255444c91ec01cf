import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Catalog, ModelBundle } from '../../bundles/catalog.ts';
import { ProblemError } from '../../contract/problem.ts';
import { Model } from '../../contract/schemas/catalog.ts';
import { Ref } from '../../contract/schemas/common.ts';
import { schedulerWarnings } from '../../jobs/request-warnings.ts';
import { listSchedulersFor } from '../../numerics/schedulers/registry.ts';
import { brokenBundles, type LoadedBundles, listLoaded } from '../catalog/bundles.ts';
import { ListOf, responses } from '../http/route-schemas.ts';
import type { Services } from '../services.ts';

const tags = ['catalog'];

/** The installed models. */
export const models: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/v1/models',
    {
      schema: {
        operationId: 'listModels',
        summary: 'List the installed models, also damaged ones',
        tags,
        response: responses({ 200: ListOf(Model) }),
      },
    },
    async () => ({ data: await listModels(app.services) }),
  );

  app.get(
    '/v1/models/:name',
    {
      schema: {
        operationId: 'getModel',
        summary: 'Get a model',
        tags,
        params: Type.Object({ name: Type.String({ maxLength: 128 }) }),
        response: responses({ 200: Ref(Model) }),
      },
    },
    async (request) => {
      const { name } = request.params;
      const all = await listModels(app.services);
      const found = all.find((model) => model.name === name);
      if (found) return found;
      const names = all.map((model) => model.name).join(', ') || 'none';
      throw new ProblemError('not-found', `There is no model "${name}"; there are: ${names}.`);
    },
  );
};

async function listModels({ store, catalog }: Services): Promise<Model[]> {
  const installed = await catalog.now();
  const loaded = await listLoaded(store);
  return [
    ...installed.models.map((model) => viewModel(model, installed, loaded)),
    ...brokenBundles(installed, 'model').map(
      (bundle): Model => ({
        object: 'model',
        ...bundle,
        family: null,
        defaults: null,
        sizes: null,
        sizeMultiple: null,
        latentShape: null,
        promptTokens: null,
        schedulers: [],
        warnings: [],
      }),
    ),
  ];
}

function viewModel(model: ModelBundle, installed: Catalog, loaded: LoadedBundles): Model {
  const { name, title, licence, sizes, defaults } = model;
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
    schedulers: listSchedulersFor(model.schedulerConfig).map((scheduler) => scheduler.name),
    warnings: schedulerWarnings(model, defaults.scheduler),
    available: true,
    problem: null,
    loadedBy: loaded.workersOf(name),
  };
}
