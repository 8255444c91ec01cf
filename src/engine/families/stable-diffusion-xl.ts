import { type Family, joinWidths } from './family.ts';
import { distilledGuidance, stableDiffusion } from './stable-diffusion.ts';

/**
 * Stable Diffusion XL and SDXL-Turbo: two CLIP text encoders side by side, a pooled embedding and
 * the size of the picture. Podell et al. 2023, arXiv 2307.01952; diffusers'
 * StableDiffusionXLPipeline.
 */
export const stableDiffusionXl: Family = {
  ...stableDiffusion,
  pooled: [null, 'text_embeds'],
  inputs: (model) => [...stableDiffusion.inputs(model), 'text_embeds', 'time_ids'],
  async encode(encoders, { ids, isNegative }, spec) {
    const { clipSkip, width: pixelWidth, height: pixelHeight } = spec.sampler;
    const layer = { from: 'penultimate', clipSkip: isNegative ? 0 : clipSkip } as const;
    const texts = [await encoders[0].encode(ids[0], layer), await encoders[1].encode(ids[1], layer)];
    const width = texts[0].width + texts[1].width;
    const hidden = joinWidths(texts, width);
    const pooled = (texts[1].pooled as Float32Array).slice();
    // Models trained with `force_zeros_for_empty_prompt` expect zeros, not the encoding of ''.
    if (isNegative && spec.negativeIsEmpty && spec.model.zeroesEmptyNegative) {
      hidden.fill(0);
      pooled.fill(0);
    }
    // Original size, crop and target size (section 2.2 of the paper): not resized and not cropped.
    const size = [pixelHeight, pixelWidth];
    return {
      inputs: {
        encoder_hidden_states: { dims: [texts[0].tokens, width], data: hidden },
        text_embeds: { dims: [pooled.length], data: pooled },
        time_ids: { dims: [6], data: Float32Array.of(...size, 0, 0, ...size) },
        ...distilledGuidance(spec),
      },
      embedding: pooled,
    };
  },
};
