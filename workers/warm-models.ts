import type { Logger } from 'pino';
import type { Catalog } from '../src/bundles/catalog.ts';
import type { ModelBundle } from '../src/bundles/model-bundle.ts';
import { type Config, ConfigError } from '../src/config/config.ts';
import type { Engine } from '../src/engine/engine.ts';
import { chooseTerms } from '../src/jobs/resolve-bundles.ts';
import { graphRewards } from '../src/rewards/weigh.ts';

/**
 * Opens the models of FINDERY_WARM, each with its default reward, and runs them once, before jobs are taken.
 * @throws ConfigError when it names a model that is not there
 */
export async function warmModels(
  engine: Engine,
  catalog: Catalog,
  config: Config,
  logger: Logger,
): Promise<void> {
  const models = chooseWarm(catalog, config.warm);
  if (models.length > config.modelsInMemory)
    logger.warn(
      `FINDERY_WARM is for ${models.length} models, but FINDERY_MODELS_IN_MEMORY keeps ${config.modelsInMemory}: the last ones stay open. Raise it where there is memory for all.`,
    );
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

/** `first`: the one that requests get that name none. */
function chooseWarm(catalog: Catalog, warm: Config['warm']): readonly ModelBundle[] {
  if (warm === 'all') return catalog.models;
  if (warm === 'none') return [];
  if (warm === 'first') return catalog.models.slice(0, 1);
  return warm.map((name) => {
    const found = catalog.models.find((model) => model.name === name);
    if (found) return found;
    const broken = catalog.problems.find((problem) => problem.name === name);
    throw new ConfigError(
      broken
        ? `FINDERY_WARM names "${name}", which can't be used: ${broken.message}`
        : `FINDERY_WARM names "${name}", but there is no such model; there are: ${catalog.models.map((model) => model.name).join(', ') || 'none'}.`,
    );
  });
}
