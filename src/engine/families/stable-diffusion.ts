import type { GenerationSpec } from '../generation-spec.ts';
import { type Family, guidanceEmbedding, type Inputs, meanOverTokens } from './family.ts';

/**
 * Stable Diffusion 1.x and 2.x and their descendants (SD-Turbo, LCM): one CLIP text encoder, a
 * UNet. Rombach et al. 2022, arXiv 2112.10752; diffusers' StableDiffusionPipeline and
 * LatentConsistencyModelPipeline.
 */
export const stableDiffusion: Family = {
  latentsInput: 'sample',
  output: 'out_sample',
  rank: 4,
  pooled: [null],
  inputs: ({ guidanceEmbeddingWidth }) => [
    'encoder_hidden_states',
    ...(guidanceEmbeddingWidth ? ['timestep_cond'] : []),
  ],
  timestep: (t) => t,
  async encode([encoder], { ids, isNegative }, spec) {
    // As in diffusers, clip_skip does not apply to the negative prompt.
    const { clipSkip } = spec.sampler;
    const text = await encoder.encode(ids[0], { from: 'last', clipSkip: isNegative ? 0 : clipSkip });
    const { hidden, tokens, width, pooled } = text;
    return {
      inputs: { encoder_hidden_states: { dims: [tokens, width], data: hidden }, ...distilledGuidance(spec) },
      embedding: pooled ?? meanOverTokens(text),
    };
  },
};

/** The input `timestep_cond` of a UNet that was distilled with guidance; none for others. */
export function distilledGuidance({ model, sampler }: GenerationSpec): Inputs {
  const { guidanceEmbeddingWidth: width } = model;
  if (width === null) return {};
  return { timestep_cond: { dims: [width], data: guidanceEmbedding(sampler.guidanceScale, width) } };
}
