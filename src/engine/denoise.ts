import { schedulerOptions } from '../bundles/scheduler-options.ts';
import type { Noise } from '../core/noise.ts';
import { standardNormal, stepNoiseLane } from '../numerics/normal.ts';
import { findScheduler } from '../numerics/schedulers/registry.ts';
import type { Denoiser } from './denoiser.ts';
import { type Conditioning, concatenate, type Family } from './families/family.ts';
import type { GenerationSpec } from './messages.ts';

/** The noise that a stochastic scheduler adds to one draw at one step: `length` numbers, N(0, 1). */
export type StepNoise = (key: Noise['key'], step: number, length: number) => Float32Array;

const stepNoiseOfDraw: StepNoise = (key, step, length) => standardNormal(key, length, stepNoiseLane(step));

/**
 * The denoising loop for a batch of draws: final latents [B, ...latentShape], from noise that belongs to each key alone, so
 * that a key's picture does not depend on its neighbours.
 * @param conditioning of the prompt, and of the negative prompt when there is classifier-free guidance
 * @param betweenRuns awaited before every graph run; it throws when the work is to stop
 */
export async function denoise(
  { denoiser, family }: { readonly denoiser: Denoiser; readonly family: Family },
  spec: GenerationSpec,
  { prompt, negative }: { readonly prompt: Conditioning; readonly negative: Conditioning | null },
  draws: readonly Noise[],
  betweenRuns: () => Promise<void>,
  stepNoise: StepNoise = stepNoiseOfDraw,
): Promise<Float32Array> {
  const d = spec.latentShape.reduce((product, size) => product * size, 1);
  const options = schedulerOptions(spec.model, spec, spec.latentShape);
  const scheduler = findScheduler(spec.scheduler).create(spec.model.schedulerConfig, options);
  const count = draws.length;
  const copies = negative ? 2 : 1;
  let latents = concatenate(draws.map(({ key, values: noise }) => noise ?? standardNormal(key, d)));
  if (scheduler.initNoiseSigma !== 1) latents = latents.map((value) => value * scheduler.initNoiseSigma);

  const conditioning = denoiser.stackInputs(
    [...(negative ? repeat(negative.perDraw, count) : []), ...repeat(prompt.perDraw, count)],
    family.shared?.(spec) ?? {},
  );
  const sample = new Float32Array(copies * count * d);
  for (const [step, timestep] of scheduler.timesteps.entries()) {
    const input = scheduler.scaleModelInput(latents, step);
    for (let copy = 0; copy < copies; copy++) sample.set(input, copy * count * d);
    const output = await denoiser.predict(sample, timestep, copies * count, conditioning, spec, betweenRuns);
    const noise = scheduler.stochastic
      ? concatenate(draws.map(({ key }) => stepNoise(key, step, d)))
      : undefined;
    latents = scheduler.step(negative ? guide(output, spec.guidanceScale) : output, step, latents, noise);
  }
  return latents;
}

/** Classifier-free guidance (Ho and Salimans 2022, eq. 6 as diffusers writes it): u + g * (c - u); `output` is [u, c]. */
function guide(output: Float32Array, guidanceScale: number): Float32Array {
  const half = output.length / 2;
  const guided = new Float32Array(half);
  for (let i = 0; i < half; i++) guided[i] = output[i] + guidanceScale * (output[half + i] - output[i]);
  return guided;
}

function repeat<T>(value: T, count: number): T[] {
  return new Array<T>(count).fill(value);
}
