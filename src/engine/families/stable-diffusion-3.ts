import { concatenate, type Family, joinWidths } from './family.ts';

/**
 * Stable Diffusion 3: a flow-matching transformer that reads two CLIP encoders side by side, padded with zeros to T5's width, and
 * T5 after them. Without T5 its tokens are zeros, as the paper's section 5.3.3 and diffusers do.
 * Esser et al. 2024, arXiv 2403.03206; diffusers' StableDiffusion3Pipeline.
 */
export const stableDiffusion3: Family = {
  latentsInput: 'hidden_states',
  output: 'out_hidden_states',
  rank: 4,
  pooled: ['text_embeds', 'text_embeds', null],
  inputs: () => ['encoder_hidden_states', 'pooled_projections'],
  timestep: (t) => t,
  async encode(encoders, { ids, isNegative }, spec) {
    const layer = { from: 'penultimate', clipSkip: isNegative ? 0 : spec.clipSkip } as const;
    const clips = [await encoders[0].encode(ids[0], layer), await encoders[1].encode(ids[1], layer)];
    const { textWidth, t5Tokens } = spec.model;
    const t5 = encoders[2]
      ? (await encoders[2].encode(ids[2], { from: 'last', clipSkip: 0 })).hidden
      : new Float32Array(t5Tokens * textWidth);
    const pooled = concatenate(clips.map((text) => text.pooled as Float32Array));
    const tokens = clips[0].tokens + t5.length / textWidth;
    return {
      perDraw: {
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
