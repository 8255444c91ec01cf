import type { GenerationSpec } from '../messages.ts';
import type { TextEncoder } from '../text-encoder.ts';

/** Inputs of a denoiser, by name, for ONE draw: dims without the batch axis. */
export interface Inputs {
  readonly [name: string]: { readonly dims: readonly number[]; readonly data: Float32Array };
}

/** What a denoiser reads of a prompt. */
export interface Conditioning {
  readonly perDraw: Inputs;
  /** The prompt as one vector; what optimizers know of it. */
  readonly embedding: Float32Array;
}

/** A prompt or a negative prompt, tokenized. */
export interface Text {
  /** Token ids for each text encoder, in their order. */
  readonly ids: readonly (readonly number[])[];
  readonly isNegative: boolean;
}

/**
 * What one family of models does in its own way: how prompts become inputs of the denoiser, and how the denoiser is asked. The denoising loop is the
 * same for all. Each is written after its pipeline in diffusers, with the graph inputs that optimum's exporter names.
 */
export interface Family {
  /** Names of the denoiser's inputs for the latents and the timestep, and of its output. */
  readonly latentsInput: string;
  readonly output: string;
  /** Axes of the latents as the denoiser takes them, with the batch. */
  readonly rank: number;
  /** Names of all other inputs that it gets for this model. */
  inputs(model: GenerationSpec['model']): readonly string[];
  /** The pooled output that each text encoder has to have; null: none, or whichever it has. */
  readonly pooled: readonly ('text_embeds' | 'pooler_output' | null)[];
  /** The denoiser's timestep for a scheduler's. */
  timestep(t: number): number;
  encode(encoders: readonly TextEncoder[], text: Text, spec: GenerationSpec): Promise<Conditioning>;
  /** Inputs that every draw shares, without a batch axis. */
  shared?(spec: GenerationSpec): Inputs;
  /** The latents as the denoiser takes them, and back; left out: as they are. */
  readonly packing?: {
    /** Dims without the batch axis. */
    dims(latentShape: readonly number[]): number[];
    pack(latents: Float32Array, latentShape: readonly number[]): Float32Array;
    unpack(packed: Float32Array, latentShape: readonly number[]): Float32Array;
  };
}

/** [width] vectors side by side, for each of the tokens: [tokens, sum of widths]. */
export function joinWidths(
  parts: readonly { readonly hidden: Float32Array; readonly tokens: number; readonly width: number }[],
  width: number,
): Float32Array {
  const [{ tokens }] = parts;
  const joined = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    let offset = token * width;
    for (const part of parts) {
      joined.set(part.hidden.subarray(token * part.width, (token + 1) * part.width), offset);
      offset += part.width;
    }
  }
  return joined;
}

export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** The mean over tokens, for encoders that make no vector of the whole text. */
export function meanOverTokens({
  hidden,
  tokens,
  width,
}: {
  hidden: Float32Array;
  tokens: number;
  width: number;
}): Float32Array {
  const mean = new Float32Array(width);
  for (let i = 0; i < hidden.length; i++) mean[i % width] += hidden[i] / tokens;
  return mean;
}

/**
 * The guidance scale as UNets read it that were distilled with it: sines and cosines of 1000 (g - 1)
 * (Meng et al. 2023, arXiv 2210.03142; diffusers' get_guidance_scale_embedding).
 * @param width numbers, the UNet's `time_cond_proj_dim`
 */
export function guidanceEmbedding(guidanceScale: number, width: number): Float32Array {
  const half = Math.floor(width / 2);
  const embedding = new Float32Array(width);
  const rate = Math.log(10_000) / (half - 1);
  for (let i = 0; i < half; i++) {
    const angle = Math.fround(
      Math.fround((guidanceScale - 1) * 1000) * Math.fround(Math.exp(Math.fround(-i * rate))),
    );
    embedding[i] = Math.sin(angle);
    embedding[half + i] = Math.cos(angle);
  }
  return embedding;
}
