import { BundleError, type Json } from './files.ts';

/** The kinds of pipelines that can be run, by their parts. */
export const FAMILY_NAMES = [
  'stable-diffusion',
  'stable-diffusion-xl',
  'stable-diffusion-3',
  'flux',
] as const;
export type FamilyName = (typeof FAMILY_NAMES)[number];

/** What a family is made of, and how a request gets its values when neither it nor the model's card says. */
export interface FamilyLayout {
  readonly name: FamilyName;
  /** Folder of the denoiser. */
  readonly denoiser: 'unet' | 'transformer';
  /** Folders of text encoders and of their tokenizers, in their order. */
  readonly textEncoders: readonly {
    readonly folder: string;
    readonly tokenizer: string;
    /** Tokens that it is given; null: as many as the tokenizer says. */
    readonly window: number | null;
    /** Whether a pipeline may lack it. */
    readonly isOptional?: boolean;
  }[];
  readonly steps: number;
  readonly guidanceScale: number;
  /** Latents along an axis that a picture of the default size has, when the denoiser's config does not say. */
  readonly sampleSize: number;
}

const CLIP = { folder: 'text_encoder', tokenizer: 'tokenizer/', window: null };
const CLIP_2 = { folder: 'text_encoder_2', tokenizer: 'tokenizer_2/', window: null };

/** Steps, guidance and T5's window are the defaults of diffusers' pipelines. */
const LAYOUTS: Readonly<Record<FamilyName, FamilyLayout>> = {
  'stable-diffusion': {
    name: 'stable-diffusion',
    denoiser: 'unet',
    textEncoders: [CLIP],
    steps: 50,
    guidanceScale: 7.5,
    sampleSize: 64,
  },
  'stable-diffusion-xl': {
    name: 'stable-diffusion-xl',
    denoiser: 'unet',
    textEncoders: [CLIP, CLIP_2],
    steps: 50,
    guidanceScale: 5,
    sampleSize: 128,
  },
  'stable-diffusion-3': {
    name: 'stable-diffusion-3',
    denoiser: 'transformer',
    textEncoders: [
      CLIP,
      CLIP_2,
      { folder: 'text_encoder_3', tokenizer: 'tokenizer_3/', window: 256, isOptional: true },
    ],
    steps: 28,
    guidanceScale: 7,
    sampleSize: 128,
  },
  flux: {
    name: 'flux',
    denoiser: 'transformer',
    textEncoders: [CLIP, { ...CLIP_2, window: 512 }],
    steps: 28,
    guidanceScale: 3.5,
    sampleSize: 128,
  },
};

/**
 * The family of a pipeline, by the components that its `model_index.json` lists: class names tell less, as fine-tunes and exporters have
 * classes of their own (`LatentConsistencyModelPipeline`, `ORTStableDiffusionPipeline`).
 * @throws BundleError that says which families there are
 */
export function findFamily(index: Json): FamilyLayout {
  const has = (component: string) => Array.isArray(index[component]) && index[component][1] !== null;
  const known = FAMILY_NAMES.join(', ');
  const unknown = (why: string): never => {
    throw new BundleError(`model_index.json ${why}; families that can be run are ${known}`);
  };
  if (has('transformer')) {
    const transformer = String((index.transformer as unknown[])[1]);
    const pipeline = String(index._class_name);
    if (/^Flux/.test(transformer) || /^Flux/.test(pipeline)) return LAYOUTS.flux;
    if (/^SD3/.test(transformer) || /StableDiffusion3/.test(pipeline)) return LAYOUTS['stable-diffusion-3'];
    return unknown(`has the transformer ${transformer} of ${pipeline}`);
  }
  if (!has('unet')) return unknown('names neither a "unet" nor a "transformer"');
  if (index.requires_aesthetics_score === true)
    return unknown('is of a refiner, which needs a picture to begin with');
  if (has('text_encoder_2'))
    return has('text_encoder') ? LAYOUTS['stable-diffusion-xl'] : unknown('lacks "text_encoder"');
  if (has('text_encoder')) return LAYOUTS['stable-diffusion'];
  return unknown('names no "text_encoder"');
}

/**
 * Whether a model asks its denoiser twice for every draw, with the prompt and with the negative one. Models that were distilled with guidance read
 * the guidance scale themselves; a scale of 1 or less is none.
 */
export function usesClassifierFreeGuidance(
  {
    family,
    guidanceEmbeddingWidth,
  }: { readonly family: FamilyName; readonly guidanceEmbeddingWidth: number | null },
  guidanceScale: number,
): boolean {
  return guidanceScale > 1 && guidanceEmbeddingWidth === null && family !== 'flux';
}

/** Whether the pipeline has that component, or may do without it. */
export function hasComponent(index: Json, component: string): boolean {
  return Array.isArray(index[component]) && index[component][1] !== null;
}
