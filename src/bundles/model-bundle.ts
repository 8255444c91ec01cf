import { basename } from 'node:path';
import { type FamilyLayout, type FamilyName, findFamily, hasComponent } from './families.ts';
import { BundleError, type Json, listAt, numberAt, numberOr, readJson, readOptionalJson } from './files.ts';
import { findGraph } from './graph-file.ts';
import { type ModelDefaults, readDefaults, replacedScheduler } from './model-sampler.ts';
import { readTokenizer, type Tokenizer } from './tokenizer.ts';

export type { FamilyName };

/**
 * A text-to-image model, as the files of its folder describe it: a latent diffusion pipeline in the
 * layout of Hugging Face's exporters.
 */
export interface ModelBundle {
  readonly name: string;
  readonly path: string;
  /** Changes with the files of the folder; empty if they were not listed. */
  readonly signature: string;
  readonly title: string;
  readonly licence: string | null;
  readonly family: FamilyName;
  /** Settings for requests that leave them out. */
  readonly defaults: ModelDefaults;
  /** diffusers' class that `defaults.scheduler` replaces; null unless findery lacks it. */
  readonly replacedScheduler: string | null;
  /** Supported pairs of width and height in pixels; null: any multiple of `sizeMultiple`. */
  readonly sizes: readonly (readonly [number, number])[] | null;
  /** Width and height in pixels are multiples of this, so that every layer halves them evenly. */
  readonly sizeMultiple: number;
  readonly latentChannels: number;
  /** Pixels per latent along each axis. */
  readonly vaeScaleFactor: number;
  /** Latents per token of a transformer along each axis; 1 for UNets. */
  readonly patchSize: number;
  /** latents = (vae latents - shiftFactor) * scalingFactor. */
  readonly scalingFactor: number;
  readonly shiftFactor: number;
  /**
   * Mean and deviation of each latent channel, for autoencoders that have them:
   * latents = (vae latents - mean) / std * scalingFactor.
   */
  readonly channelStatistics: { readonly mean: readonly number[]; readonly std: readonly number[] } | null;
  readonly schedulerConfig: Json;
  /** One tokenizer for each text encoder, in order. */
  readonly tokenizers: readonly Tokenizer[];
  /** Width of each text encoder's hidden states; null if its config does not say. */
  readonly textWidths: readonly (number | null)[];
  /** Layers of the first text encoder; null if its config does not say. */
  readonly textLayers: number | null;
  /** Width of the text that the denoiser reads. */
  readonly textWidth: number;
  /** Tokens of zeros in place of T5's, for a Stable Diffusion 3 without T5. */
  readonly t5Tokens: number;
  /** Width of the guidance embedding of a UNet distilled with guidance (LCM); null for others. */
  readonly guidanceEmbeddingWidth: number | null;
  /** Whether the transformer has the guidance scale as input (FLUX.1-dev). */
  readonly readsGuidance: boolean;
  /** Whether an empty negative prompt becomes zeros (SDXL's `force_zeros_for_empty_prompt`). */
  readonly zeroesEmptyNegative: boolean;
  /** Paths of the graphs. */
  readonly graphs: {
    readonly textEncoders: readonly string[];
    readonly denoiser: string;
    readonly vaeDecoder: string;
  };
  /** Shape of one latent, [C, H, W], for a picture of this size in pixels. */
  latentShape(width: number, height: number): number[];
}

const VAE_CONFIG = 'vae_decoder/config.json';

/**
 * Reads the folder of a model. Graphs are located, not opened.
 * @throws BundleError if the folder cannot be used
 */
export async function readModelBundle(path: string): Promise<ModelBundle> {
  const index = await readJson(path, 'model_index.json');
  const family = findFamily(index);
  const [schedulerConfig, denoiser, vae, card] = await Promise.all([
    readJson(path, 'scheduler/scheduler_config.json'),
    readJson(path, `${family.denoiser}/config.json`),
    readJson(path, VAE_CONFIG),
    readOptionalJson(path, 'findery.json'),
  ]);
  const textEncoders = await readTextEncoders(path, index, family);
  const vaeScaleFactor = 2 ** (listAt(vae, 'block_out_channels', VAE_CONFIG).length - 1);
  const latentChannels = numberAt(vae, 'latent_channels', VAE_CONFIG);
  checkChannels(denoiser, latentChannels, family);
  const patchSize = readPatchSize(denoiser, family);
  const halvings =
    family.denoiser === 'unet' ? listAt(denoiser, 'block_out_channels', 'unet/config.json').length - 1 : 0;
  const sources = { card, family, denoiser, schedulerConfig, vaeScaleFactor };
  return {
    name: basename(path),
    path,
    signature: '',
    title: typeof card?.title === 'string' ? card.title : basename(path),
    licence: typeof card?.licence === 'string' ? card.licence : null,
    family: family.name,
    defaults: readDefaults(sources),
    replacedScheduler: replacedScheduler(sources),
    sizes: readSizes(card),
    sizeMultiple: vaeScaleFactor * patchSize * 2 ** halvings,
    latentChannels,
    vaeScaleFactor,
    patchSize,
    scalingFactor: numberAt(vae, 'scaling_factor', VAE_CONFIG),
    shiftFactor: numberOr(vae.shift_factor, 0),
    channelStatistics: readChannelStatistics(vae, latentChannels),
    schedulerConfig,
    tokenizers: textEncoders.map(({ tokenizer }) => tokenizer),
    textWidths: textEncoders.map(({ width }) => width),
    textLayers: textEncoders[0].layers,
    textWidth: numberOr(denoiser.joint_attention_dim ?? denoiser.cross_attention_dim, 0),
    t5Tokens: family.textEncoders.at(-1)?.window ?? 0,
    guidanceEmbeddingWidth: numberOr(denoiser.time_cond_proj_dim, null),
    readsGuidance: denoiser.guidance_embeds === true,
    zeroesEmptyNegative: index.force_zeros_for_empty_prompt === true,
    graphs: {
      textEncoders: textEncoders.map(({ graph }) => graph),
      denoiser: await findGraph(path, `${family.denoiser}/model.onnx`),
      vaeDecoder: await findGraph(path, 'vae_decoder/model.onnx'),
    },
    latentShape: (width, height) => [latentChannels, height / vaeScaleFactor, width / vaeScaleFactor],
  };
}

/** Reads the text encoders of a pipeline; optional ones only if `model_index.json` lists them. */
async function readTextEncoders(path: string, index: Json, family: FamilyLayout) {
  const present = family.textEncoders.filter(
    ({ folder, isOptional }) => !isOptional || hasComponent(index, folder),
  );
  return Promise.all(
    present.map(async ({ folder, tokenizer: files, window }) => {
      const [graph, tokenizer, config] = await Promise.all([
        findGraph(path, `${folder}/model.onnx`),
        readTokenizer(path, files, window ?? undefined),
        readOptionalJson(path, `${folder}/config.json`),
      ]);
      const vocabulary = config?.vocab_size;
      if (typeof vocabulary === 'number' && tokenizer.vocabularySize > vocabulary) {
        throw new BundleError(
          `${files} has token ids up to ${tokenizer.vocabularySize - 1}, but ${folder}/config.json has ` +
            `embeddings for ${vocabulary} (vocab_size) only, so the tokenizer belongs to another model. ` +
            'Use the one that the model came with',
        );
      }
      return {
        graph,
        tokenizer,
        width: numberOr(config?.hidden_size ?? config?.d_model, null),
        layers: numberOr(config?.num_hidden_layers, null),
      };
    }),
  );
}

function readPatchSize(denoiser: Json, { name, denoiser: kind }: FamilyLayout): number {
  if (kind === 'unet') return 1;
  // The config of FLUX.1 says 1: its pipeline packs patches of 2 x 2 before the transformer.
  return name === 'flux' ? 2 : numberOr(denoiser.patch_size, 2);
}

/**
 * A denoiser for inpainting or editing reads a picture too, so it cannot start from noise alone.
 */
function checkChannels(denoiser: Json, latentChannels: number, family: FamilyLayout): void {
  const channels = denoiser.in_channels;
  const expected = family.name === 'flux' ? latentChannels * 4 : latentChannels;
  if (typeof channels !== 'number' || channels === expected) return;
  throw new BundleError(
    `${family.denoiser}/config.json has in_channels ${channels}, but latents have ${expected}: a model for ` +
      'inpainting or editing, which reads a picture besides the noise. Use the text-to-image model',
  );
}

function readChannelStatistics(vae: Json, channels: number): ModelBundle['channelStatistics'] {
  const { latents_mean: mean, latents_std: std } = vae;
  if (!Array.isArray(mean) || !Array.isArray(std)) return null;
  if (mean.length === channels && std.length === channels) return { mean, std };
  throw new BundleError(
    `${VAE_CONFIG} has ${mean.length} latents_mean and ${std.length} latents_std for ${channels} channels; ` +
      'use the config that the exporter wrote',
  );
}

function readSizes(card: Json | null): ModelBundle['sizes'] {
  const sizes = card?.sizes;
  if (sizes === undefined || sizes === null) return null;
  const fits =
    Array.isArray(sizes) &&
    sizes.every((size) => Array.isArray(size) && size.length === 2 && size.every(Number.isInteger));
  if (!fits)
    throw new BundleError(
      `findery.json has "sizes" ${JSON.stringify(sizes)}; it takes a list of [width, height]`,
    );
  return sizes as [number, number][];
}
