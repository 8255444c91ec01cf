import { schedulerOptions } from '../bundles/model-sampler.ts';
import type { Noise } from '../core/noise.ts';
import { standardNormal, stepNoiseLane } from '../numerics/normal.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { Denoiser } from './denoiser.ts';
import { type Conditioning, concatenate, type Family } from './families/family.ts';
import type { GenerationSpec } from './generation-spec.ts';

/**
 * The N(0, 1) noise, `length` numbers, that a stochastic scheduler adds to one latent at one step.
 */
export type StepNoise = (key: Noise['key'], step: number, length: number) => Float32Array;

const stepNoiseOf: StepNoise = (key, step, length) => standardNormal(key, length, stepNoiseLane(step));

/**
 * Denoises a batch of noises. All randomness of a noise comes from its own key, so the result for a
 * noise does not depend on the others in the batch.
 * @param conditioning of the prompt, and of the negative prompt for classifier-free guidance
 * @param betweenRuns awaited before every graph run; stops the work by throwing
 * @param stepNoise replaced in tests only
 * @returns the final latents, [B, ...latentShape]
 */
export async function denoise(
  { denoiser, family }: { readonly denoiser: Denoiser; readonly family: Family },
  spec: GenerationSpec,
  { prompt, negative }: { readonly prompt: Conditioning; readonly negative: Conditioning | null },
  noises: readonly Noise[],
  betweenRuns: () => Promise<void>,
  stepNoise: StepNoise = stepNoiseOf,
): Promise<Float32Array> {
  const { model, sampler, latentShape } = spec;
  const d = latentShape.reduce((product, size) => product * size, 1);
  const options = schedulerOptions(model, sampler, latentShape);
  const scheduler = findScheduler(sampler.scheduler).create(model.schedulerConfig, options);
  const count = noises.length;
  let latents = concatenate(noises.map(({ key, values }) => values ?? standardNormal(key, d)));
  for (let i = 0; i < latents.length; i++) latents[i] *= scheduler.initNoiseSigma;

  const predict = denoiser.prepare(
    {
      prompt: prompt.inputs,
      negative: negative?.inputs ?? null,
      guidanceScale: sampler.guidanceScale,
      shared: family.shared?.(spec) ?? {},
      latentShape,
    },
    count,
  );
  // The steps share these arrays.
  const input = new Float32Array(count * d);
  const noise = scheduler.stochastic ? new Float32Array(count * d) : undefined;
  let next: Float32Array = new Float32Array(count * d);
  for (const [step, timestep] of scheduler.timesteps.entries()) {
    const prediction = await predict(scheduler.scaleModelInput(latents, step, input), timestep, betweenRuns);
    if (noise) for (const [i, { key }] of noises.entries()) noise.set(stepNoise(key, step, d), i * d);
    [latents, next] = [scheduler.step(prediction, step, latents, noise, next), latents];
  }
  return latents;
}
