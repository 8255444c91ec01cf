import type { Sampler } from '../core/sampler.ts';
import { findScheduler, findSchedulerByConfig } from '../numerics/schedulers/registry.ts';
import type { SchedulerOptions } from '../numerics/schedulers/scheduler.ts';
import type { FamilyLayout, FamilyName } from './families.ts';
import { BundleError, type Json, numberOr } from './files.ts';

/** Settings of a model for requests that leave them out; `eta` defaults to 0 for every model. */
export interface ModelDefaults extends Omit<Sampler, 'eta'> {
  /** Name of a reward; null if the card names none. */
  readonly reward: string | null;
}

/** The configs of a model that its defaults depend on. */
export interface DefaultSources {
  /** `findery.json`, whose `defaults` take precedence over everything else. */
  readonly card: Json | null;
  readonly family: FamilyLayout;
  /** `config.json` of the denoiser. */
  readonly denoiser: Json;
  readonly schedulerConfig: Json;
  /** Pixels per latent along each axis. */
  readonly vaeScaleFactor: number;
}

/**
 * The defaults of a model: from its card, else from its configs, else from its family.
 *
 * A model whose scheduler is not supported gets DPM-Solver++ on the config of its own scheduler.
 * @throws BundleError if the scheduler cannot be created with these defaults
 */
export function readDefaults(sources: DefaultSources): ModelDefaults {
  const { card, family, denoiser, schedulerConfig, vaeScaleFactor } = sources;
  const given = (card?.defaults ?? {}) as Partial<ModelDefaults>;
  const side = numberOr(denoiser.sample_size, family.sampleSize) * vaeScaleFactor;
  const distilled = distilledDefaults(sources);
  const defaults = {
    scheduler: given.scheduler ?? findSchedulerByConfig(schedulerConfig)?.name ?? 'dpmsolver++',
    steps: given.steps ?? distilled?.steps ?? family.steps,
    guidanceScale: given.guidanceScale ?? distilled?.guidanceScale ?? family.guidanceScale,
    clipSkip: given.clipSkip ?? 0,
    width: given.width ?? side,
    height: given.height ?? side,
    reward: given.reward ?? null,
  };
  checkScheduler(schedulerConfig, defaults);
  return defaults;
}

/**
 * The class of a scheduler that findery does not have, in whose place the defaults have another
 * scheduler; null if the config's own scheduler or the card's is used.
 */
export function replacedScheduler({ card, schedulerConfig }: DefaultSources): string | null {
  const isChosen = (card?.defaults as Partial<ModelDefaults> | undefined)?.scheduler !== undefined;
  const { _class_name: name } = schedulerConfig;
  return isChosen || typeof name !== 'string' || findSchedulerByConfig(schedulerConfig) ? null : name;
}

/** Steps and guidance of models distilled to few steps; null for any other model. */
function distilledDefaults({
  denoiser,
  schedulerConfig,
  family,
}: DefaultSources): Pick<Sampler, 'steps' | 'guidanceScale'> | null {
  if (typeof denoiser.time_cond_proj_dim === 'number') return { steps: 4, guidanceScale: 8.5 }; // LCM
  if (family.name === 'flux')
    return denoiser.guidance_embeds === true ? null : { steps: 4, guidanceScale: 0 }; // FLUX.1-schnell
  // SD-Turbo and SDXL-Turbo: this combination is the only trace of the distillation in their
  // configs.
  const isTurbo =
    String(schedulerConfig._class_name).startsWith('Euler') &&
    schedulerConfig.timestep_spacing === 'trailing';
  return isTurbo ? { steps: 1, guidanceScale: 0 } : null;
}

/** Creates the default scheduler, so that a wrong config shows at the start and not in a job. */
function checkScheduler(config: Json, { scheduler, steps }: ModelDefaults): void {
  try {
    findScheduler(scheduler).create(config, { steps, eta: 0, imageSequenceLength: 1024 });
  } catch (error) {
    const reason = (error as Error).message.replace(/\.$/, '');
    throw new BundleError(
      `scheduler/scheduler_config.json can't be used with ${scheduler} and ${steps} steps: ${reason}`,
    );
  }
}

/**
 * The options with which the scheduler of a model is created for one request, as the model's
 * pipeline in diffusers sets them.
 * @param latentShape [C, H, W] of one latent
 */
export function schedulerOptions(
  { family, patchSize }: { readonly family: FamilyName; readonly patchSize: number },
  { steps, eta }: Pick<Sampler, 'steps' | 'eta'>,
  latentShape: readonly number[],
): SchedulerOptions {
  const [channels, height, width] = latentShape;
  return {
    steps,
    eta,
    sampleLength: channels * height * width,
    imageSequenceLength: (height * width) / patchSize ** 2,
    // The FLUX.1 pipeline sets even noise levels itself; Stable Diffusion 3 uses the scheduler's.
    flowSpacing: family === 'flux' ? 'unit' : 'trained',
  };
}

/**
 * The smallest picture size that is useful to try a model with: its first fixed size, else about
 * 64 x 64 pixels.
 */
export function smallestPictureSize({
  sizes,
  sizeMultiple,
}: {
  readonly sizes: readonly (readonly [number, number])[] | null;
  readonly sizeMultiple: number;
}): Pick<Sampler, 'width' | 'height'> {
  const side = Math.ceil(64 / sizeMultiple) * sizeMultiple;
  const [width, height] = sizes?.[0] ?? [side, side];
  return { width, height };
}
