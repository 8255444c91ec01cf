import type { Logger } from 'pino';
import type { Catalog } from '../src/bundles/catalog.ts';
import type { ModelBundle } from '../src/bundles/model-bundle.ts';
import { type Config, ConfigError } from '../src/config/config.ts';
import type { Engine } from '../src/engine/engine.ts';
import { chooseTerms } from '../src/jobs/choose-bundles.ts';
import { graphRewards } from '../src/rewards/weighted-rewards.ts';

/**
 * Opens the models of FINDERY_WARM, each with its default reward, and runs each once, so that the
 * first job of a model does not wait for it.
 * @throws ConfigError if FINDERY_WARM names a model that is not installed or can't be used
 */
export async function warmModels(
  engine: Engine,
  catalog: Catalog,
  config: Config,
  logger: Logger,
): Promise<void> {
  const models = chooseWarmModels(catalog, config.warm);
  if (models.length > config.modelsInMemory) {
    logger.warn(
      `FINDERY_WARM opens ${models.length} models, but FINDERY_MODELS_IN_MEMORY is ` +
        `${config.modelsInMemory}, so only the last ones stay open. Raise it if they all fit into memory.`,
    );
  }
  for (const model of models) {
    const began = performance.now();
    const terms = chooseTerms(catalog, model.defaults.reward ?? undefined, '/reward');
    const batchSizes = await engine.open(model, graphRewards(terms), { warmUp: true });
    logger.info(
      { model: model.name, batchSizes, seconds: (performance.now() - began) / 1000 },
      'model is warm',
    );
  }
}

/** `first` is the model of requests that name none. */
function chooseWarmModels(catalog: Catalog, warm: Config['warm']): readonly ModelBundle[] {
  if (warm === 'all') return catalog.models;
  if (warm === 'none') return [];
  if (warm === 'first') return catalog.models.slice(0, 1);
  return warm.map((name) => {
    const model = catalog.models.find((model) => model.name === name);
    if (model) return model;
    const broken = catalog.problems.find((problem) => problem.name === name);
    if (broken) {
      throw new ConfigError(`FINDERY_WARM names "${name}", which can't be used: ${broken.message}`);
    }
    const names = catalog.models.map((model) => model.name).join(', ') || 'none';
    throw new ConfigError(`FINDERY_WARM names "${name}", but there is no such model; there are: ${names}.`);
  });
}
