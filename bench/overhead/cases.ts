import type { Sampler } from '../../src/core/sampler.ts';
import type { GenerationSpec, ModelSpec, RewardSpec } from '../../src/engine/generation-spec.ts';

/** A value of a stub graph. Its first axis is the batch, unless `shape` has no 'batch'. */
export interface StubValue {
  readonly name: string;
  readonly type: 'float16' | 'int64';
  readonly shape: readonly (number | string)[];
}

/** A stub graph: what it declares, and so what it returns. */
export interface StubGraph {
  readonly inputs: readonly StubValue[];
  readonly outputs: readonly StubValue[];
}

/** A model at the sizes of a published one, all of its graphs in float16. */
export interface OverheadCase {
  readonly name: string;
  readonly model: ModelSpec;
  /** Stub graphs by the paths in `model.graphs`. */
  readonly graphs: { readonly [path: string]: StubGraph };
  readonly sampler: Sampler;
  readonly latentShape: readonly number[];
  /** Tokens of a prompt for each text encoder. */
  readonly tokens: readonly number[];
  readonly batchSizes: readonly number[];
  /** Targets in ms by batch size. */
  readonly targets: { readonly [batchSize: number]: { readonly step?: number; readonly batch?: number } };
}

const half = (name: string, ...shape: (number | string)[]): StubValue => ({ name, type: 'float16', shape });
const clip = (tokens: number, width: number, layers: number, pooled: StubValue): StubGraph => ({
  inputs: [{ name: 'input_ids', type: 'int64', shape: ['batch', tokens] }],
  outputs: [
    half('last_hidden_state', 'batch', tokens, width),
    pooled,
    ...Array.from({ length: layers + 1 }, (_, i) => half(`hidden_states.${i}`, 'batch', tokens, width)),
  ],
});
const vaeDecoder = (channels: number, side: number): StubGraph => ({
  inputs: [half('latent_sample', 'batch', channels, 'height', 'width')],
  outputs: [half('sample', 'batch', 3, side, side)],
});
const model = (name: string, changes: Partial<ModelSpec>): ModelSpec => ({
  name,
  path: name,
  signature: '',
  family: 'stable-diffusion',
  graphs: { textEncoders: [`${name}/text_encoder`], denoiser: `${name}/unet`, vaeDecoder: `${name}/vae` },
  schedulerConfig: {},
  scalingFactor: 0.18215,
  shiftFactor: 0,
  channelStatistics: null,
  patchSize: 1,
  textWidths: [768],
  textWidth: 768,
  t5Tokens: 0,
  guidanceEmbeddingWidth: null,
  readsGuidance: false,
  zeroesEmptyNegative: false,
  ...changes,
});
const latentDiffusion = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const twoEncoders = (name: string) => ({
  textEncoders: [`${name}/text_encoder`, `${name}/text_encoder_2`],
  denoiser: `${name}/denoiser`,
  vaeDecoder: `${name}/vae`,
});

const sd15: OverheadCase = {
  name: 'SD 1.5, 512x512',
  model: model('sd15', {
    schedulerConfig: {
      ...latentDiffusion,
      skip_prk_steps: true,
      set_alpha_to_one: false,
      steps_offset: 1,
      clip_sample: false,
    },
  }),
  graphs: {
    'sd15/text_encoder': clip(77, 768, 12, half('pooler_output', 'batch', 768)),
    'sd15/unet': {
      inputs: [
        half('sample', 'batch', 4, 'height', 'width'),
        half('timestep', 'batch'),
        half('encoder_hidden_states', 'batch', 77, 768),
      ],
      outputs: [half('out_sample', 'batch', 4, 64, 64)],
    },
    'sd15/vae': vaeDecoder(4, 512),
  },
  sampler: {
    scheduler: 'pndm',
    steps: 50,
    guidanceScale: 7.5,
    eta: 0,
    clipSkip: 0,
    width: 512,
    height: 512,
  },
  latentShape: [4, 64, 64],
  tokens: [77],
  batchSizes: [1, 8],
  targets: { 1: { step: 0.4 }, 8: { step: 1.5, batch: 60 } },
};

const sdxl: OverheadCase = {
  name: 'SDXL, 1024x1024',
  model: model('sdxl', {
    family: 'stable-diffusion-xl',
    graphs: twoEncoders('sdxl'),
    schedulerConfig: { ...latentDiffusion, timestep_spacing: 'leading', steps_offset: 1 },
    scalingFactor: 0.13025,
    textWidths: [768, 1280],
    textWidth: 2048,
  }),
  graphs: {
    'sdxl/text_encoder': clip(77, 768, 12, half('pooler_output', 'batch', 768)),
    'sdxl/text_encoder_2': clip(77, 1280, 32, half('text_embeds', 'batch', 1280)),
    'sdxl/denoiser': {
      inputs: [
        half('sample', 'batch', 4, 'height', 'width'),
        half('timestep', 'batch'),
        half('encoder_hidden_states', 'batch', 77, 2048),
        half('text_embeds', 'batch', 1280),
        half('time_ids', 'batch', 6),
      ],
      outputs: [half('out_sample', 'batch', 4, 128, 128)],
    },
    'sdxl/vae': vaeDecoder(4, 1024),
  },
  sampler: { ...sd15.sampler, scheduler: 'euler', guidanceScale: 5, width: 1024, height: 1024 },
  latentShape: [4, 128, 128],
  tokens: [77, 77],
  batchSizes: [1, 4],
  targets: { 4: { step: 4 } },
};

const flux: OverheadCase = {
  name: 'FLUX.1-dev, 1024x1024',
  model: model('flux', {
    family: 'flux',
    graphs: twoEncoders('flux'),
    schedulerConfig: { shift: 3, use_dynamic_shifting: true },
    scalingFactor: 0.3611,
    shiftFactor: 0.1159,
    patchSize: 2,
    textWidths: [768, 4096],
    textWidth: 4096,
    readsGuidance: true,
  }),
  graphs: {
    'flux/text_encoder': clip(77, 768, 12, half('pooler_output', 'batch', 768)),
    'flux/text_encoder_2': clip(512, 4096, 0, half('unused', 'batch', 1)),
    'flux/denoiser': {
      inputs: [
        half('hidden_states', 'batch', 4096, 64),
        half('timestep', 'batch'),
        half('encoder_hidden_states', 'batch', 512, 4096),
        half('pooled_projections', 'batch', 768),
        half('img_ids', 4096, 3),
        half('txt_ids', 512, 3),
        half('guidance', 'batch'),
      ],
      outputs: [half('out_hidden_states', 'batch', 4096, 64)],
    },
    'flux/vae': vaeDecoder(16, 1024),
  },
  sampler: { ...sdxl.sampler, scheduler: 'flow-match-euler', guidanceScale: 3.5, steps: 28 },
  latentShape: [16, 128, 128],
  tokens: [77, 512],
  batchSizes: [1, 4],
  targets: {},
};

/** The models that are measured. */
export const OVERHEAD_CASES: readonly OverheadCase[] = [sd15, sdxl, flux];

/** A reward with the preprocessing of CLIP's, for pictures of any size. */
export const STUB_REWARD: RewardSpec = {
  name: 'reward',
  path: 'reward',
  signature: '',
  graph: 'reward',
  preprocessing: {
    resize: { shortestEdge: 224 },
    resample: 'bicubic',
    crop: { width: 224, height: 224 },
    cropRounding: 'nearest',
    rescaleFactor: 1 / 255,
    mean: [0.48, 0.46, 0.41],
    std: [0.27, 0.26, 0.28],
  },
  scoring: { type: 'output', mean: 0, std: 1 },
};

/** The stub graph of `STUB_REWARD` by its path. */
export const STUB_REWARD_GRAPHS: OverheadCase['graphs'] = {
  reward: {
    inputs: [half('pixel_values', 'batch', 3, 224, 224)],
    outputs: [half('reward', 'batch', 1)],
  },
};

/**
 * What the engine is asked for in one round. The prompt differs from round to round, so that its
 * text is encoded.
 */
export function specOf(one: OverheadCase, round: number): GenerationSpec {
  const ids = (first: number) =>
    one.tokens.map((length) => [first, ...new Array<number>(length - 1).fill(0)]);
  return {
    model: one.model,
    rewards: [],
    promptIds: ids(2 * round),
    negativePromptIds: ids(2 * round + 1),
    negativeIsEmpty: false,
    rewardTexts: [],
    sampler: one.sampler,
    latentShape: one.latentShape,
  };
}
