import { availableParallelism } from 'node:os';
import { expect } from 'vitest';
import { readCatalog } from '../../src/bundles/catalog.ts';
import type { GraphReward } from '../../src/bundles/reward-bundle.ts';
import type { Noise } from '../../src/core/noise.ts';
import type { Picture } from '../../src/core/picture.ts';
import type { Sampler } from '../../src/core/sampler.ts';
import type { Engine, PipelineRequest } from '../../src/engine/engine.ts';
import { EMBEDDED } from './bundle-copies.ts';

const catalog = await readCatalog([EMBEDDED]);
/** The embedded model. */
export const [model] = catalog.models;
/** The embedded reward. */
export const reward = catalog.rewards[0] as GraphReward;

/** An engine on all cores of the CPU. */
export const ENGINE_OPTIONS = {
  executionProviders: ['cpu'],
  threads: availableParallelism(),
  batchSize: 8,
};

export const SAMPLER: Sampler = {
  scheduler: 'dpmsolver++',
  steps: 3,
  guidanceScale: 4,
  eta: 0,
  clipSkip: 0,
  width: 64,
  height: 64,
};

/** Changes of a request that make it as cheap as possible, for tests that ignore the pictures. */
export const CHEAP = { sampler: { ...SAMPLER, steps: 2, guidanceScale: 1 } };

/** Asks a pipeline for scores and pictures. */
export const BOTH = { scores: true, pictures: true };

/** A request for the embedded model and reward. */
export function pipelineRequest(changes: Partial<PipelineRequest> = {}): PipelineRequest {
  return {
    model,
    rewards: [reward],
    prompt: 'a green dog on the grass',
    negativePrompt: '',
    sampler: SAMPLER,
    ...changes,
  };
}

/** The N(0, I) noises at these indices of one seed. */
export function noisesAt(...indices: number[]): Noise[] {
  return indices.map((index) => ({ key: { seed: 7, stream: 0, index } }));
}

/** 0 to `count` - 1. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Opens a pipeline and evaluates noises with it. */
export async function evaluate(engine: Engine, noises: readonly Noise[], changes?: Partial<PipelineRequest>) {
  const pipeline = await engine.pipeline(pipelineRequest(changes));
  return pipeline.evaluate(noises, BOTH);
}

/** The bytes of a picture that must be there. */
export function pixelsOf({ picture }: { readonly picture: Picture | null }): Buffer {
  if (!picture) throw new Error('There is no picture.');
  return Buffer.from(picture.pixels);
}

/** The largest difference of two pictures' bytes, 0 to 255. */
export function largestDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a).toHaveLength(b.length);
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);
}
