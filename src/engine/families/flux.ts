import type { Family } from './family.ts';

/**
 * FLUX.1: a flow-matching transformer over patches of 2 x 2 latents, with CLIP's pooled vector and
 * T5's tokens. The distilled model has the guidance scale as input, so there is no unconditional
 * evaluation and no negative prompt. diffusers' FluxPipeline.
 */
export const flux: Family = {
  latentsInput: 'hidden_states',
  output: 'out_hidden_states',
  rank: 3,
  pooled: ['pooler_output', null],
  inputs: ({ readsGuidance }) => [
    'encoder_hidden_states',
    'pooled_projections',
    'img_ids',
    'txt_ids',
    ...(readsGuidance ? ['guidance'] : []),
  ],
  timestep: (t) => t / 1000,
  async encode([clip, t5], { ids }, { model, sampler }) {
    const last = { from: 'last', clipSkip: 0 } as const;
    const { pooled } = await clip.encode(ids[0], last);
    const text = await t5.encode(ids[1], last);
    // Not null: `pooled` above requires the output of this encoder.
    const embedding = pooled as Float32Array;
    return {
      inputs: {
        encoder_hidden_states: { dims: [text.tokens, text.width], data: text.hidden },
        pooled_projections: { dims: [embedding.length], data: embedding },
        ...(model.readsGuidance
          ? { guidance: { dims: [], data: Float32Array.of(sampler.guidanceScale) } }
          : {}),
      },
      embedding,
    };
  },
  shared({ latentShape, promptIds }) {
    const [rows, columns] = [latentShape[1] / 2, latentShape[2] / 2];
    const positions = new Float32Array(rows * columns * 3);
    for (let i = 0; i < rows * columns; i++) positions.set([0, Math.floor(i / columns), i % columns], i * 3);
    const tokens = promptIds[1].length;
    return {
      img_ids: { dims: [rows * columns, 3], data: positions },
      txt_ids: { dims: [tokens, 3], data: new Float32Array(tokens * 3) },
    };
  },
  packing: {
    dims: ([channels, height, width]) => [(height / 2) * (width / 2), channels * 4],
    pack(latents, shape, into) {
      visitRows(shape, latents.length, (plain, packed, step, width) => {
        for (let x = 0; x < width; x += 2) {
          const at = packed + (x / 2) * step;
          into[at] = latents[plain + x];
          into[at + 1] = latents[plain + x + 1];
        }
      });
      return into;
    },
    unpack(packedLatents, shape, into) {
      visitRows(shape, packedLatents.length, (plain, packed, step, width) => {
        for (let x = 0; x < width; x += 2) {
          const at = packed + (x / 2) * step;
          into[plain + x] = packedLatents[at];
          into[plain + x + 1] = packedLatents[at + 1];
        }
      });
      return into;
    },
  },
};

/**
 * Visits the rows of latents, [C, H, W], beside their places in packed ones, [H/2 * W/2, C * 4]:
 * patches row by row, in a patch the channels, in a channel its 2 x 2 latents.
 * @param length of all latents
 * @param visit gets where the row begins in the plain and in the packed latents, the numbers of one
 *   packed patch, and the width of the row. Each two latents of a row are neighbours in a patch.
 */
function visitRows(
  [channels, height, width]: readonly number[],
  length: number,
  visit: (plain: number, packed: number, step: number, width: number) => void,
): void {
  const step = channels * 4;
  const size = channels * height * width;
  for (let start = 0; start < length; start += size) {
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        const packed = start + Math.floor(y / 2) * (width / 2) * step + c * 4 + (y % 2) * 2;
        visit(start + (c * height + y) * width, packed, step, width);
      }
    }
  }
}
