import { type Family, guidanceEmbedding, type Inputs, meanOverTokens } from './family.ts';

/**
 * Stable Diffusion 1.x and 2.x and what descends from them (SD-Turbo, LCM): one CLIP text encoder, a UNet.
 * Rombach et al. 2022, arXiv 2112.10752; diffusers' StableDiffusionPipeline, LatentConsistencyModelPipeline.
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
    // As diffusers: clip_skip is for the prompt, the negative prompt is read at the last layer.
    const text = await encoder.encode(ids[0], { from: 'last', clipSkip: isNegative ? 0 : spec.clipSkip });
    const { hidden, tokens, width, pooled } = text;
    return {
      perDraw: { encoder_hidden_states: { dims: [tokens, width], data: hidden }, ...distilledGuidance(spec) },
      embedding: pooled ?? meanOverTokens(text),
    };
  },
};

/** `timestep_cond` of a UNet that reads the guidance scale. */
export function distilledGuidance(spec: {
  readonly guidanceScale: number;
  readonly model: { readonly guidanceEmbeddingWidth: number | null };
}): Inputs {
  const { guidanceEmbeddingWidth: width } = spec.model;
  if (width === null) return {};
  return { timestep_cond: { dims: [width], data: guidanceEmbedding(spec.guidanceScale, width) } };
}
