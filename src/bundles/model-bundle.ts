import { basename } from 'node:path';
import { findScheduler, schedulerOf } from '../numerics/schedulers/registry.ts';
import { type FamilyLayout, type FamilyName, findFamily, hasComponent } from './families.ts';
import { BundleError, graphPath, type Json, numberAt, readJson, readOptionalJson } from './files.ts';
import { readTokenizer, type Tokenizer } from './tokenizer.ts';

export type { FamilyName };

/** A text-to-image model as its folder describes it: a latent diffusion pipeline in the layout of Hugging Face's exporters. */
export interface ModelBundle {
  readonly name: string;
  readonly path: string;
  /** Changes with its files; empty where nobody looked at them. */
  readonly signature: string;
  readonly title: string;
  readonly licence: string | null;
  readonly family: FamilyName;
  /** What a request gets that does not say. */
  readonly defaults: {
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly clipSkip: number;
    readonly width: number;
    readonly height: number;
    readonly reward: string | null;
  };
  /** Pairs of width and height that it makes; null: any multiple of `sizeMultiple`. */
  readonly sizes: readonly (readonly [number, number])[] | null;
  /** Pixels: what width and height have to be multiples of, so that every layer of the denoiser halves them evenly. */
  readonly sizeMultiple: number;
  readonly latentChannels: number;
  /** Pixels for one latent, along each axis. */
  readonly vaeScaleFactor: number;
  /** Latents along each axis that make one token of a transformer; 1 for UNets. */
  readonly patchSize: number;
  /** latents = (vae latents - shift) * scale. */
  readonly scalingFactor: number;
  readonly shiftFactor: number;
  /** For each channel, where the autoencoder has them: latents = (vae latents - mean) / std * scale. */
  readonly channelStatistics: { readonly mean: readonly number[]; readonly std: readonly number[] } | null;
  readonly schedulerConfig: Json;
  /** One for each text encoder, in their order. */
  readonly tokenizers: readonly Tokenizer[];
  /** Numbers that each text encoder makes of a token; null where its config does not say. */
  readonly textWidths: readonly (number | null)[];
  /** Layers of the first text encoder; null: unknown. */
  readonly textLayers: number | null;
  /** Numbers that the denoiser reads of a token. */
  readonly textWidth: number;
  /** Tokens of T5 that stand in for it, as zeros, where Stable Diffusion 3 comes without it. */
  readonly t5Tokens: number;
  /** Width of the guidance embedding of a UNet that was distilled with it (LCM); null: it has none. */
  readonly guidanceEmbeddingWidth: number | null;
  /** Whether the transformer reads the guidance scale (FLUX.1-dev). */
  readonly readsGuidance: boolean;
  /** Whether an empty negative prompt is zeros (SDXL's `force_zeros_for_empty_prompt`). */
  readonly zeroesEmptyNegative: boolean;
  readonly graphs: {
    readonly textEncoders: readonly string[];
    readonly denoiser: string;
    readonly vaeDecoder: string;
  };
  /** Shape of one latent, [C, H, W], for a picture of this size. */
  latentShape(width: number, height: number): number[];
}

/** Reads a model's folder. @throws BundleError when it can't be used */
export async function readModelBundle(path: string): Promise<ModelBundle> {
  const index = await readJson(path, 'model_index.json');
  const family = findFamily(index);
  const [schedulerConfig, denoiser, vae, card] = await Promise.all([
    readJson(path, 'scheduler/scheduler_config.json'),
    readJson(path, `${family.denoiser}/config.json`),
    readJson(path, 'vae_decoder/config.json'),
    readOptionalJson(path, 'findery.json'),
  ]);
  const texts = await readTextEncoders(path, index, family);
  const vaeScaleFactor = 2 ** (listAt(vae, 'block_out_channels', 'vae_decoder/config.json').length - 1);
  const latentChannels = numberAt(vae, 'latent_channels', 'vae_decoder/config.json');
  checkChannels(denoiser, latentChannels, family);
  const patchSize =
    family.name === 'flux'
      ? 2
      : family.denoiser === 'transformer'
        ? optionalNumber(denoiser.patch_size, 2)
        : 1;
  const halvings =
    family.denoiser === 'unet' ? listAt(denoiser, 'block_out_channels', 'unet/config.json').length - 1 : 0;
  const defaults = readDefaults({ card, family, denoiser, schedulerConfig, vaeScaleFactor });
  checkScheduler(schedulerConfig, defaults);
  return {
    name: basename(path),
    path,
    signature: '',
    title: typeof card?.title === 'string' ? card.title : basename(path),
    licence: typeof card?.licence === 'string' ? card.licence : null,
    family: family.name,
    defaults,
    sizes: readSizes(card),
    sizeMultiple: vaeScaleFactor * patchSize * 2 ** halvings,
    latentChannels,
    vaeScaleFactor,
    patchSize,
    scalingFactor: numberAt(vae, 'scaling_factor', 'vae_decoder/config.json'),
    shiftFactor: optionalNumber(vae.shift_factor, 0),
    channelStatistics: readChannelStatistics(vae, latentChannels),
    schedulerConfig,
    tokenizers: texts.map(({ tokenizer }) => tokenizer),
    textWidths: texts.map(({ width }) => width),
    textLayers: texts[0].layers,
    textWidth: optionalNumber(denoiser.joint_attention_dim ?? denoiser.cross_attention_dim, 0),
    t5Tokens: family.textEncoders.at(-1)?.window ?? 0,
    guidanceEmbeddingWidth:
      typeof denoiser.time_cond_proj_dim === 'number' ? denoiser.time_cond_proj_dim : null,
    readsGuidance: denoiser.guidance_embeds === true,
    zeroesEmptyNegative: index.force_zeros_for_empty_prompt === true,
    graphs: {
      textEncoders: texts.map(({ graph }) => graph),
      denoiser: await graphPath(path, `${family.denoiser}/model.onnx`),
      vaeDecoder: await graphPath(path, 'vae_decoder/model.onnx'),
    },
    latentShape: (width, height) => [latentChannels, height / vaeScaleFactor, width / vaeScaleFactor],
  };
}

/** Each text encoder's graph, its tokenizer and what its config says; those that the pipeline may lack only where they are there. */
async function readTextEncoders(path: string, index: Json, family: FamilyLayout) {
  const present = family.textEncoders.filter(
    ({ folder, isOptional }) => !isOptional || hasComponent(index, folder),
  );
  return Promise.all(
    present.map(async ({ folder, tokenizer: files, window }) => {
      const [graph, tokenizer, config] = await Promise.all([
        graphPath(path, `${folder}/model.onnx`),
        readTokenizer(path, files, window ?? undefined),
        readOptionalJson(path, `${folder}/config.json`),
      ]);
      const vocabulary = config?.vocab_size;
      if (typeof vocabulary === 'number' && tokenizer.vocabularySize > vocabulary) {
        throw new BundleError(
          `${files} has token ids up to ${tokenizer.vocabularySize - 1}, but ${folder}/config.json has embeddings for ${vocabulary} (vocab_size) only; the tokenizer is another model's. Take the one that the model came with`,
        );
      }
      return {
        graph,
        tokenizer,
        width: numberOrNull(config?.hidden_size ?? config?.d_model),
        layers: numberOrNull(config?.num_hidden_layers),
      };
    }),
  );
}

function readDefaults({
  card,
  family,
  denoiser,
  schedulerConfig,
  vaeScaleFactor,
}: {
  readonly card: Json | null;
  readonly family: FamilyLayout;
  readonly denoiser: Json;
  readonly schedulerConfig: Json;
  readonly vaeScaleFactor: number;
}): ModelBundle['defaults'] {
  const given = (card?.defaults ?? {}) as Partial<ModelBundle['defaults']>;
  const side = optionalNumber(denoiser.sample_size, family.sampleSize) * vaeScaleFactor;
  const few = fewSteps(denoiser, schedulerConfig, family);
  return {
    scheduler: given.scheduler ?? defaultScheduler(schedulerConfig),
    steps: given.steps ?? few?.steps ?? family.steps,
    guidanceScale: given.guidanceScale ?? few?.guidanceScale ?? family.guidanceScale,
    clipSkip: given.clipSkip ?? 0,
    width: given.width ?? side,
    height: given.height ?? side,
    reward: given.reward ?? null,
  };
}

/** Models that were distilled to a few steps, as their configs show them; null: not such a one. */
function fewSteps(
  denoiser: Json,
  scheduler: Json,
  family: FamilyLayout,
): { steps: number; guidanceScale: number } | null {
  if (typeof denoiser.time_cond_proj_dim === 'number') return { steps: 4, guidanceScale: 8.5 }; // LCM
  if (family.name === 'flux')
    return denoiser.guidance_embeds === true ? null : { steps: 4, guidanceScale: 0 }; // schnell
  // SD-Turbo and SDXL-Turbo come with Euler's schedulers and trailing timesteps; nothing else in their configs tells.
  const isTurbo =
    String(scheduler._class_name).startsWith('Euler') && scheduler.timestep_spacing === 'trailing';
  return isTurbo ? { steps: 1, guidanceScale: 0 } : null;
}

/** The scheduler that the model ships with, or, where it is one that findery has not, DPM-Solver++ on its config. */
function defaultScheduler(config: Json): string {
  return schedulerOf(config)?.name ?? 'dpmsolver++';
}

/** Tries the model's own scheduler out, so that a config that is wrong shows at the start and not in a job. */
function checkScheduler(config: Json, { scheduler, steps }: ModelBundle['defaults']): void {
  try {
    findScheduler(scheduler).create(config, { steps, eta: 0, imageSequenceLength: 1024 });
  } catch (error) {
    const reason = (error as Error).message.replace(/\.$/, '');
    throw new BundleError(
      `scheduler/scheduler_config.json can't be used with ${scheduler} and ${steps} steps: ${reason}`,
    );
  }
}

/** A denoiser that reads more than latents (inpainting, depth, edits) can't begin from noise alone. */
function checkChannels(denoiser: Json, latentChannels: number, family: FamilyLayout): void {
  const channels = denoiser.in_channels;
  const expected = family.name === 'flux' ? latentChannels * 4 : latentChannels;
  if (typeof channels !== 'number' || channels === expected) return;
  throw new BundleError(
    `${family.denoiser}/config.json has in_channels ${channels}, but latents have ${expected}: a model for inpainting or editing, which reads a picture besides the noise. Take the text-to-image model`,
  );
}

function readChannelStatistics(vae: Json, channels: number): ModelBundle['channelStatistics'] {
  const { latents_mean: mean, latents_std: std } = vae;
  if (!Array.isArray(mean) || !Array.isArray(std)) return null;
  if (mean.length === channels && std.length === channels) return { mean, std };
  throw new BundleError(
    `vae_decoder/config.json has ${mean.length} latents_mean and ${std.length} latents_std for ${channels} channels; take the config that the exporter wrote`,
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

function listAt(config: Json, key: string, file: string): readonly unknown[] {
  const value = config[key];
  if (Array.isArray(value) && value.length > 0) return value;
  throw new BundleError(`${file} has no list "${key}"; take the config that the exporter wrote`);
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}

function optionalNumber(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}
