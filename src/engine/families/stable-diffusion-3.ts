import { concatenate, type Family, joinWidths } from './family.ts';

/**
 * Stable Diffusion 3: a flow-matching transformer. Its text is two CLIP encoders side by side,
 * padded with zeros to T5's width, followed by T5. Without T5 its tokens are zeros, as in section
 * 5.3.3 of the paper and in diffusers.
 * Esser et al. 2024, arXiv 2403.03206; diffusers' StableDiffusion3Pipeline.
 */
export const stableDiffusion3: Family = {
  latentsInput: 'hidden_states',
  output: 'out_hidden_states',
  rank: 4,
  pooled: ['text_embeds', 'text_embeds', null],
  inputs: () => ['encoder_hidden_states', 'pooled_projections'],
  timestep: (t) => t,
  async encode(encoders, { ids, isNegative }, { model, sampler }) {
    const layer = { from: 'penultimate', clipSkip: isNegative ? 0 : sampler.clipSkip } as const;
    const clips = [await encoders[0].encode(ids[0], layer), await encoders[1].encode(ids[1], layer)];
    const { textWidth, t5Tokens } = model;
    const t5 = encoders[2]
      ? (await encoders[2].encode(ids[2], { from: 'last', clipSkip: 0 })).hidden
      : new Float32Array(t5Tokens * textWidth);
    const pooled = concatenate(clips.map((text) => text.pooled as Float32Array));
    const tokens = clips[0].tokens + t5.length / textWidth;
    return {
      inputs: {
        encoder_hidden_states: {
          dims: [tokens, textWidth],
          data: concatenate([joinWidths(clips, textWidth), t5]),
        },
        pooled_projections: { dims: [pooled.length], data: pooled },
      },
      embedding: pooled,
    };
  },
};
