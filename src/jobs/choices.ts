import type { Catalog, ModelBundle, RewardBundle } from '../bundles/catalog.ts';
import { SCHEDULERS } from '../numerics/schedulers/registry.ts';
import { ProblemError } from './problem.ts';
import type { Sampler, SamplerRequest, Warning } from './schemas/common.ts';

/** The model of that name, or the first one installed. */
export function chooseModel(catalog: Catalog, name: string | undefined, pointer: string): ModelBundle {
  return choose('model', catalog.models, catalog, name, pointer);
}

/** The reward of that name, or the first one installed. */
export function chooseReward(catalog: Catalog, name: string | undefined, pointer: string): RewardBundle {
  return choose('reward', catalog.rewards, catalog, name, pointer);
}

function choose<T extends { readonly name: string }>(
  noun: 'model' | 'reward',
  installed: readonly T[],
  catalog: Catalog,
  name: string | undefined,
  pointer: string,
): T {
  const found = name === undefined ? installed[0] : installed.find((bundle) => bundle.name === name);
  if (found) return found;
  const broken = catalog.problems.find((problem) => problem.name === name);
  if (broken)
    throw new ProblemError('broken-bundle', `The ${noun} "${name}" can't be used: ${broken.message}`, [
      { pointer, message: 'is damaged' },
    ]);
  const names = installed.map((bundle) => bundle.name).join(', ') || 'none installed';
  throw new ProblemError(
    noun === 'model' ? 'unknown-model' : 'unknown-reward',
    name === undefined
      ? `No ${noun} is installed; put one into a folder of FINDERY_MODELS.`
      : `There is no ${noun} "${name}"; there are: ${names}.`,
    [{ pointer, message: `one of ${names}` }],
  );
}

/**
 * The sampler with the model's defaults filled in, tried out: its scheduler is set up once as the engine will.
 * @throws ProblemError for unknown schedulers, sizes that the model can't make, and steps or eta that don't fit.
 */
export function resolveSampler(model: ModelBundle, request: SamplerRequest, pointer: string): Sampler {
  const { defaults } = model;
  const wanted = request.scheduler ?? defaults.scheduler;
  const definition = SCHEDULERS.find(({ name, classNames }) => name === wanted || classNames.includes(wanted));
  if (!definition) {
    const names = SCHEDULERS.map(({ name }) => name).join(', ');
    throw new ProblemError('unknown-scheduler', `There is no scheduler "${wanted}"; there are ${names}.`, [
      { pointer: `${pointer}/scheduler`, message: `one of ${names}` },
    ]);
  }
  const sampler: Sampler = {
    scheduler: definition.name,
    steps: request.steps ?? defaults.steps,
    guidanceScale: request.guidanceScale ?? defaults.guidanceScale,
    eta: request.eta ?? 0,
    width: request.width ?? defaults.width,
    height: request.height ?? defaults.height,
  };
  if (sampler.eta > 0 && !definition.usesEta) {
    throw new ProblemError(
      'not-possible',
      `eta is ${sampler.eta}, but ${definition.name} has no eta; take 0, or the scheduler ddim.`,
      [{ pointer: `${pointer}/eta`, message: `0 with ${definition.name}` }],
    );
  }
  checkSize(model, sampler, pointer);
  try {
    definition.create(model.schedulerConfig, { steps: sampler.steps, eta: sampler.eta });
  } catch (error) {
    throw new ProblemError(
      'not-possible',
      `${definition.name} can't be set up like this: ${error instanceof Error ? error.message : error}`,
      [{ pointer: `${pointer}/steps`, message: 'does not fit' }],
    );
  }
  return sampler;
}

type Size = Partial<Pick<Sampler, 'width' | 'height'>>;

function checkSize(model: ModelBundle, size: Sampler, pointer: string): void {
  const { sizes, vaeScaleFactor: multiple } = model;
  const fits = (size: Size) =>
    sizes
      ? sizes.some(([width, height]) => width === (size.width ?? width) && height === (size.height ?? height))
      : (size.width ?? 0) % multiple === 0 && (size.height ?? 0) % multiple === 0;
  if (fits(size)) return;
  const { width, height } = size;
  const accepted = sizes ? sizes.map((size) => size.join('x')).join(', ') : `multiples of ${multiple}`;
  // The side that fits no size; both, where it is the pair that does not.
  const wrong = (['width', 'height'] as const).filter((side) => !fits({ [side]: size[side] }));
  const sides = wrong.length > 0 ? wrong : (['width', 'height'] as const);
  throw new ProblemError(
    'not-possible',
    `${model.name} can't make ${width}x${height} pictures; it makes ${accepted}.`,
    sides.map((side) => ({ pointer: `${pointer}/${side}`, message: `is ${size[side]}; takes ${accepted}` })),
  );
}

/** A prompt that is longer than what a model reads is accepted, but not in silence. */
export function promptWarnings(
  bundles: readonly (ModelBundle | RewardBundle)[],
  prompt: string,
  negativePrompt: string,
): Warning[] {
  const warnings: Warning[] = [];
  for (const bundle of bundles) {
    for (const [name, text] of [
      ['prompt', prompt],
      ['negativePrompt', negativePrompt],
    ] as const) {
      if (name === 'negativePrompt' && !('latentShape' in bundle)) continue; // rewards read the prompt alone
      const cut = bundle.tokenizer?.encode(text).truncated;
      if (cut) {
        warnings.push({
          code: 'prompt-cut',
          message: `${bundle.name} reads the first ${bundle.tokenizer?.window} tokens of the ${name}; this is cut off: "${cut}"`,
        });
      }
    }
  }
  return warnings;
}
