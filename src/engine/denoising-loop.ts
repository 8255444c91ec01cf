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
      rows: negative ? [negative.inputs, prompt.inputs] : [prompt.inputs],
      shared: family.shared?.(spec) ?? {},
      latentShape,
    },
    count,
  );
  // The arrays of every step.
  const [input, guided] = [new Float32Array(count * d), new Float32Array(negative ? count * d : 0)];
  const noise = scheduler.stochastic ? new Float32Array(count * d) : undefined;
  let next: Float32Array = new Float32Array(count * d);
  for (const [step, timestep] of scheduler.timesteps.entries()) {
    const output = await predict(scheduler.scaleModelInput(latents, step, input), timestep, betweenRuns);
    if (noise) for (const [i, { key }] of noises.entries()) noise.set(stepNoise(key, step, d), i * d);
    const prediction = negative ? guide(output, sampler.guidanceScale, guided) : output;
    [latents, next] = [scheduler.step(prediction, step, latents, noise, next), latents];
  }
  return latents;
}

/**
 * Classifier-free guidance, u + g * (c - u): Ho and Salimans 2022, eq. 6, with diffusers' scale g.
 * @param output [u, c]: the predictions for the negative prompt, then those for the prompt
 * @param into array for the result, half as long as `output`
 * @returns `into`
 */
function guide(output: Float32Array, guidanceScale: number, into: Float32Array): Float32Array {
  const half = into.length;
  for (let i = 0; i < half; i++) into[i] = output[i] + guidanceScale * (output[half + i] - output[i]);
  return into;
}
