import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Catalog } from '../src/bundles/catalog.ts';
import type { ModelBundle } from '../src/bundles/model-bundle.ts';
import { type Config, ConfigError } from '../src/config/config.ts';
import type { Engine } from '../src/engine/engine.ts';
import { DeviceLostError } from '../src/engine/errors.ts';
import { chooseTerms } from '../src/jobs/choose-bundles.ts';
import { graphRewards } from '../src/rewards/weighted-rewards.ts';
import type { Recycling } from './recycling.ts';

/** Time without work after which a worker warms up. Work that waits at its start comes first. */
const IDLE_MS = 250;

/**
 * The models of FINDERY_WARM that fit into FINDERY_MODELS_IN_MEMORY.
 * @throws ConfigError if FINDERY_WARM names a model that is not installed or can't be used
 */
export function chooseWarmModels(catalog: Catalog, config: Config, logger: Logger): readonly ModelBundle[] {
  const models = findModels(catalog, config.warm);
  if (models.length > config.modelsInMemory) {
    logger.warn(
      `FINDERY_WARM names ${models.length} models, but FINDERY_MODELS_IN_MEMORY is ` +
        `${config.modelsInMemory}, so only the first are warmed up. Raise it if they all fit into memory.`,
    );
  }
  return models.slice(0, config.modelsInMemory);
}

/**
 * Opens models, each with its default reward, and runs each at every batch size, so that later jobs
 * do not wait for that. It proceeds only while the worker has no work, one graph run at a time, and
 * closes no model of a job. A model that can't be opened is reported; its jobs fail by themselves.
 * @param isIdle whether the worker has no work
 * @param stop ends it before its next graph run
 */
export async function warmWhenIdle(
  engine: Engine,
  {
    models,
    catalog,
    modelsInMemory,
  }: { models: readonly ModelBundle[]; catalog: Catalog; modelsInMemory: number },
  {
    isIdle,
    stop,
    recycling,
    logger,
  }: { isIdle: () => boolean; stop: AbortSignal; recycling: Recycling; logger: Logger },
): Promise<void> {
  const untilIdle = async () => {
    do await sleep(IDLE_MS, undefined, { signal: stop });
    while (!isIdle());
  };
  const names = new Set(catalog.models.map(({ name }) => name));
  for (const model of models) {
    try {
      await untilIdle();
      const others = engine.loaded().filter((name) => names.has(name) && name !== model.name);
      if (others.length >= modelsInMemory) return;
      const began = performance.now();
      const terms = chooseTerms(catalog, model.defaults.reward ?? undefined, '/reward');
      const options = { warmUp: true, beforeEach: untilIdle };
      const batchSizes = await engine.open(model, graphRewards(terms), options);
      logger.info(
        { model: model.name, batchSizes, seconds: (performance.now() - began) / 1000 },
        'model is warm',
      );
    } catch (error) {
      if (stop.aborted) return;
      logger.error({ err: error, model: model.name }, 'model could not be warmed up');
      if (!(error instanceof DeviceLostError)) continue;
      recycling.replaceDevice(error);
      return;
    }
  }
}

/** `first` is the model of requests that name none. */
function findModels(catalog: Catalog, warm: Config['warm']): readonly ModelBundle[] {
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
