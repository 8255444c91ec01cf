import type { ModelBundle } from '../bundles/catalog.ts';
import { schedulerOptions } from '../bundles/model-sampler.ts';
import { ProblemError } from '../contract/problem.ts';
import type { Sampler, SamplerRequest } from '../contract/schemas/common.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { SchedulerDefinition } from '../numerics/schedulers/scheduler.ts';
import { Memo } from './memo.ts';

/** The limit of clipSkip for a text encoder whose number of layers is unknown. */
const MAX_CLIP_SKIP = 31;

/**
 * Samplers that a model was set up with before. The set-up computes all timesteps and takes longer
 * than the rest of the validation.
 */
const ACCEPTED_SAMPLERS = new Memo<ModelBundle, true>(1000);

/**
 * Fills the model's defaults into a sampler and validates it, by setting its scheduler up as the
 * engine will.
 * @param pointer JSON pointer of the sampler in the request; errors carry it
 * @throws ProblemError `unknown-scheduler`, or `not-possible` for sizes that the model can't make
 * and for a clipSkip, steps or eta out of range
 */
export function resolveSampler(model: ModelBundle, request: SamplerRequest, pointer: string): Sampler {
  const { defaults } = model;
  const definition = chooseScheduler(request.scheduler ?? defaults.scheduler, pointer);
  const sampler: Sampler = {
    scheduler: definition.name,
    steps: request.steps ?? defaults.steps,
    guidanceScale: request.guidanceScale ?? defaults.guidanceScale,
    eta: request.eta ?? 0,
    clipSkip: request.clipSkip ?? defaults.clipSkip,
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
  checkClipSkip(model, sampler.clipSkip, pointer);
  try {
    ACCEPTED_SAMPLERS.get(model, JSON.stringify(sampler), () => {
      const options = schedulerOptions(model, sampler, model.latentShape(sampler.width, sampler.height));
      definition.create(model.schedulerConfig, options);
      return true;
    });
  } catch (error) {
    throw new ProblemError(
      'not-possible',
      `${definition.name} can't be set up like this: ${error instanceof Error ? error.message : error}`,
      [{ pointer: `${pointer}/steps`, message: 'does not fit' }],
    );
  }
  return sampler;
}

function chooseScheduler(name: string, pointer: string): SchedulerDefinition {
  try {
    return findScheduler(name);
  } catch (error) {
    throw new ProblemError('unknown-scheduler', (error as Error).message, [
      { pointer: `${pointer}/scheduler`, message: 'is not known' },
    ]);
  }
}

function checkClipSkip(model: ModelBundle, clipSkip: number, pointer: string): void {
  const max = maxClipSkip(model);
  if (clipSkip <= max) return;
  const accepted = max === 0 ? 'only 0' : `0 to ${max}`;
  const reason = model.family === 'flux' ? ' (it reads T5)' : '';
  throw new ProblemError(
    'not-possible',
    `clipSkip is ${clipSkip}, but ${model.name} takes ${accepted}${reason}.`,
    [{ pointer: `${pointer}/clipSkip`, message: `at most ${max}` }],
  );
}

/** At least one layer stays. Stable Diffusion XL and 3 read the last layer but one already. */
function maxClipSkip({ family, textLayers }: ModelBundle): number {
  if (family === 'flux') return 0;
  if (textLayers === null) return MAX_CLIP_SKIP;
  return textLayers - (family === 'stable-diffusion' ? 1 : 2);
}

type Size = Partial<Pick<Sampler, 'width' | 'height'>>;

function checkSize(model: ModelBundle, size: Sampler, pointer: string): void {
  const { sizes, sizeMultiple: multiple } = model;
  const fits = (size: Size) =>
    sizes
      ? sizes.some(([width, height]) => width === (size.width ?? width) && height === (size.height ?? height))
      : (size.width ?? 0) % multiple === 0 && (size.height ?? 0) % multiple === 0;
  if (fits(size)) return;
  const { width, height } = size;
  const accepted = sizes ? sizes.map((size) => size.join('x')).join(', ') : `multiples of ${multiple}`;
  // Points at the side that fits no size, or at both sides if only their combination is not
  // accepted.
  const wrong = (['width', 'height'] as const).filter((side) => !fits({ [side]: size[side] }));
  const sides = wrong.length > 0 ? wrong : (['width', 'height'] as const);
  throw new ProblemError(
    'not-possible',
    `${model.name} can't make ${width}x${height} pictures; it makes ${accepted}.`,
    sides.map((side) => ({ pointer: `${pointer}/${side}`, message: `is ${size[side]}; takes ${accepted}` })),
  );
}
