import type { SchedulerOptions } from '../numerics/schedulers/scheduler.ts';
import type { ModelBundle } from './model-bundle.ts';

/**
 * What a scheduler has to know of a model and of what is asked of it, as the model's pipeline in diffusers tells it.
 * @param latentShape [C, H, W] of one latent
 */
export function schedulerOptions(
  { family, patchSize }: Pick<ModelBundle, 'family' | 'patchSize'>,
  { steps, eta }: { readonly steps: number; readonly eta: number },
  latentShape: readonly number[],
): SchedulerOptions {
  const [channels, height, width] = latentShape;
  return {
    steps,
    eta,
    sampleLength: channels * height * width,
    imageSequenceLength: (height * width) / patchSize ** 2,
    // FLUX.1's pipeline asks for even noise levels of its own, Stable Diffusion 3's leaves them to the scheduler.
    flowSpacing: family === 'flux' ? 'unit' : 'trained',
  };
}
