import { basename } from 'node:path';
import { SCHEDULERS } from '../numerics/schedulers/registry.ts';
import { BundleError, graphPath, type Json, numberAt, readJson, readOptionalJson } from './files.ts';
import { readTokenizer, type Tokenizer } from './tokenizer.ts';

/** A text-to-image model as its folder describes it: a latent diffusion pipeline in the layout of Hugging Face's exporters. */
export interface ModelBundle {
  readonly name: string;
  readonly path: string;
  readonly title: string;
  readonly licence: string | null;
  /** What a request gets that does not say. */
  readonly defaults: {
    readonly scheduler: string;
    readonly steps: number;
    readonly guidanceScale: number;
    readonly width: number;
    readonly height: number;
    readonly reward: string | null;
  };
  /** Pairs of width and height that it makes; null: any multiple of `vaeScaleFactor`. */
  readonly sizes: readonly (readonly [number, number])[] | null;
  readonly latentChannels: number;
  /** Pixels for one latent, along each axis. */
  readonly vaeScaleFactor: number;
  /** latents = (vae latents - shift) * scale. */
  readonly scalingFactor: number;
  readonly shiftFactor: number;
  readonly schedulerConfig: Json;
  readonly tokenizer: Tokenizer;
  readonly graphs: { readonly textEncoder: string; readonly unet: string; readonly vaeDecoder: string };
  /** Shape of one latent, [C, H, W], for a picture of this size. */
  latentShape(width: number, height: number): number[];
}

/** Reads a model's folder. @throws BundleError when it can't be used */
export async function readModelBundle(path: string): Promise<ModelBundle> {
  const index = await readJson(path, 'model_index.json');
  for (const component of ['tokenizer_2', 'text_encoder_2', 'transformer']) {
    if (Array.isArray(index[component]) && index[component][1] !== null) {
      throw new BundleError(
        `model_index.json has the component "${component}"; pipelines with one CLIP text encoder and a UNet (Stable Diffusion 1.x) are read so far`,
      );
    }
  }
  const [schedulerConfig, unet, vae, tokenizer, card] = await Promise.all([
    readJson(path, 'scheduler/scheduler_config.json'),
    readJson(path, 'unet/config.json'),
    readJson(path, 'vae_decoder/config.json'),
    readTokenizer(path, 'tokenizer/'),
    readOptionalJson(path, 'findery.json'),
  ]);
  const graphs = {
    textEncoder: await graphPath(path, 'text_encoder/model.onnx'),
    unet: await graphPath(path, 'unet/model.onnx'),
    vaeDecoder: await graphPath(path, 'vae_decoder/model.onnx'),
  };
  const blocks = vae.block_out_channels;
  if (!Array.isArray(blocks) || blocks.length === 0)
    throw new BundleError(
      'vae_decoder/config.json has no list "block_out_channels"; take the config that the exporter wrote',
    );
  const vaeScaleFactor = 2 ** (blocks.length - 1);
  const latentChannels = numberAt(vae, 'latent_channels', 'vae_decoder/config.json');
  const sampleSize = typeof unet.sample_size === 'number' ? unet.sample_size : 64;
  const given = (card?.defaults ?? {}) as Partial<ModelBundle['defaults']>;
  return {
    name: basename(path),
    path,
    title: typeof card?.title === 'string' ? card.title : basename(path),
    licence: typeof card?.licence === 'string' ? card.licence : null,
    defaults: {
      scheduler: given.scheduler ?? defaultScheduler(schedulerConfig),
      steps: given.steps ?? 50,
      guidanceScale: given.guidanceScale ?? 7.5,
      width: given.width ?? sampleSize * vaeScaleFactor,
      height: given.height ?? sampleSize * vaeScaleFactor,
      reward: given.reward ?? null,
    },
    sizes: readSizes(card),
    latentChannels,
    vaeScaleFactor,
    scalingFactor: numberAt(vae, 'scaling_factor', 'vae_decoder/config.json'),
    shiftFactor: typeof vae.shift_factor === 'number' ? vae.shift_factor : 0,
    schedulerConfig,
    tokenizer,
    graphs,
    latentShape: (width, height) => [latentChannels, height / vaeScaleFactor, width / vaeScaleFactor],
  };
}

/** The scheduler that the model ships with, or, where it is one that findery has not, DPM-Solver++ on its config. */
function defaultScheduler(config: Json): string {
  return SCHEDULERS.find(({ classNames }) => classNames.includes(String(config._class_name)))?.name ?? 'dpmsolver++';
}

function readSizes(card: Json | null): ModelBundle['sizes'] {
  const sizes = card?.sizes;
  if (sizes === undefined || sizes === null) return null;
  const fits =
    Array.isArray(sizes) &&
    sizes.every((size) => Array.isArray(size) && size.length === 2 && size.every(Number.isInteger));
  if (!fits)
    throw new BundleError(`findery.json has "sizes" ${JSON.stringify(sizes)}; it takes a list of [width, height]`);
  return sizes as [number, number][];
}
