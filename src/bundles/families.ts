import { BundleError, type Json } from './files.ts';

/** The supported families of pipelines. */
export const FAMILY_NAMES = [
  'stable-diffusion',
  'stable-diffusion-xl',
  'stable-diffusion-3',
  'flux',
] as const;
/** Name of a supported family. */
export type FamilyName = (typeof FAMILY_NAMES)[number];

/** The parts of a family's pipelines, and defaults for what neither a card nor a config says. */
export interface FamilyLayout {
  readonly name: FamilyName;
  /** Folder of the denoiser. */
  readonly denoiser: 'unet' | 'transformer';
  /** Folders of the text encoders and of their tokenizers, in order. */
  readonly textEncoders: readonly {
    readonly folder: string;
    readonly tokenizer: string;
    /** Length of its token sequences; null: as the tokenizer's config says. */
    readonly window: number | null;
    /** Whether a pipeline may lack it. */
    readonly isOptional?: boolean;
  }[];
  readonly steps: number;
  readonly guidanceScale: number;
  /** Latents along each axis of a picture of the default size. */
  readonly sampleSize: number;
}

const CLIP = { folder: 'text_encoder', tokenizer: 'tokenizer/', window: null };
const CLIP_2 = { folder: 'text_encoder_2', tokenizer: 'tokenizer_2/', window: null };

/** Steps, guidance and T5's window are the defaults of the pipelines in diffusers. */
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
 * The family of a pipeline, by the components that its `model_index.json` lists. The name of the
 * pipeline's class decides last, because fine-tunes and exporters have classes of their own, such
 * as `LatentConsistencyModelPipeline` and `ORTStableDiffusionPipeline`.
 * @throws BundleError that lists the supported families
 */
export function findFamily(index: Json): FamilyLayout {
  const has = (component: string) => hasComponent(index, component);
  const reject = (why: string): never => {
    throw new BundleError(
      `model_index.json ${why}; the families that can be run are ${FAMILY_NAMES.join(', ')}`,
    );
  };
  if (has('transformer')) {
    const transformer = String((index.transformer as unknown[])[1]);
    const pipeline = String(index._class_name);
    if (/^Flux/.test(transformer) || /^Flux/.test(pipeline)) return LAYOUTS.flux;
    if (/^SD3/.test(transformer) || /StableDiffusion3/.test(pipeline)) return LAYOUTS['stable-diffusion-3'];
    return reject(`has the transformer ${transformer} of ${pipeline}`);
  }
  if (!has('unet')) return reject('names neither a "unet" nor a "transformer"');
  if (index.requires_aesthetics_score === true)
    return reject('is of a refiner, which needs a picture to begin with');
  if (has('text_encoder_2'))
    return has('text_encoder') ? LAYOUTS['stable-diffusion-xl'] : reject('lacks "text_encoder"');
  if (has('text_encoder')) return LAYOUTS['stable-diffusion'];
  return reject('names no "text_encoder"');
}

/** Whether `model_index.json` lists the component, and not as absent (`[null, null]`). */
export function hasComponent(index: Json, component: string): boolean {
  const entry = index[component];
  return Array.isArray(entry) && entry[1] !== null;
}

/**
 * Whether each denoising step evaluates the denoiser twice, for the prompt and for the negative
 * prompt. A guidance scale of 1 or less needs no second evaluation. Models distilled with guidance
 * have the guidance scale as input instead.
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
