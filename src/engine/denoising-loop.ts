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
  const copies = negative ? 2 : 1;
  let latents = concatenate(noises.map(({ key, values }) => values ?? standardNormal(key, d)));
  if (scheduler.initNoiseSigma !== 1) latents = latents.map((value) => value * scheduler.initNoiseSigma);

  const conditioning = denoiser.stackInputs(
    [...(negative ? repeat(negative.inputs, count) : []), ...repeat(prompt.inputs, count)],
    family.shared?.(spec) ?? {},
  );
  const rows = new Float32Array(copies * count * d);
  for (const [step, timestep] of scheduler.timesteps.entries()) {
    const input = scheduler.scaleModelInput(latents, step);
    for (let copy = 0; copy < copies; copy++) rows.set(input, copy * count * d);
    const output = await denoiser.predict(rows, timestep, copies * count, conditioning, spec, betweenRuns);
    const noise = scheduler.stochastic
      ? concatenate(noises.map(({ key }) => stepNoise(key, step, d)))
      : undefined;
    latents = scheduler.step(negative ? guide(output, sampler.guidanceScale) : output, step, latents, noise);
  }
  return latents;
}

/**
 * Classifier-free guidance, u + g * (c - u): Ho and Salimans 2022, eq. 6, with diffusers' scale g.
 * @param output [u, c]: the predictions for the negative prompt, then those for the prompt
 */
function guide(output: Float32Array, guidanceScale: number): Float32Array {
  const half = output.length / 2;
  const guided = new Float32Array(half);
  for (let i = 0; i < half; i++) guided[i] = output[i] + guidanceScale * (output[half + i] - output[i]);
  return guided;
}

function repeat<T>(value: T, count: number): T[] {
  return new Array<T>(count).fill(value);
}
