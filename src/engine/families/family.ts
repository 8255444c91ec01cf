import type { GenerationSpec, ModelSpec } from '../generation-spec.ts';
import type { TextEncoder } from '../text-encoder.ts';

/** Inputs of a denoiser for one row, by name; `dims` are without the batch axis. */
export interface Inputs {
  readonly [name: string]: { readonly dims: readonly number[]; readonly data: Float32Array };
}

/** The encoding of a prompt that conditions the denoiser. */
export interface Conditioning {
  /** Inputs of the denoiser for one row. */
  readonly inputs: Inputs;
  /** The prompt as one vector, for optimizers that use it. */
  readonly embedding: Float32Array;
}

/** A prompt or a negative prompt, tokenized. */
export interface Text {
  /** Token ids for each text encoder, in order. */
  readonly ids: readonly (readonly number[])[];
  readonly isNegative: boolean;
}

/**
 * The parts that differ between families of models: how prompts become inputs of the denoiser, and
 * the form of its other inputs. The denoising loop is the same for all families. Each family
 * follows its pipeline in diffusers, with the input names of optimum's exporter.
 */
export interface Family {
  /** Name of the denoiser's input for the latents. */
  readonly latentsInput: string;
  /** Name of the denoiser's output. */
  readonly output: string;
  /** Number of axes of the denoiser's latents, batch included. */
  readonly rank: number;
  /** Names of the denoiser's inputs besides latents and timestep, for this model. */
  inputs(model: ModelSpec): readonly string[];
  /** For each text encoder, the pooled output that it must have; null: optional, under any name. */
  readonly pooled: readonly ('text_embeds' | 'pooler_output' | null)[];
  /** Converts a scheduler's timestep to the denoiser's. */
  timestep(t: number): number;
  /** Encodes a prompt; `encoders` are those of the model, in order. */
  encode(encoders: readonly TextEncoder[], text: Text, spec: GenerationSpec): Promise<Conditioning>;
  /** Inputs that are the same for the whole batch, without a batch axis. */
  shared?(spec: GenerationSpec): Inputs;
  /** Converts latents to the denoiser's layout and back; absent if the layout is the same. */
  readonly packing?: {
    /** Dims of one packed latent, without the batch axis. */
    dims(latentShape: readonly number[]): number[];
    /** @param into array for the result, which is returned; not `latents` */
    pack(latents: Float32Array, latentShape: readonly number[], into: Float32Array): Float32Array;
    /** @param into array for the result, which is returned; not `packed` */
    unpack(packed: Float32Array, latentShape: readonly number[], into: Float32Array): Float32Array;
  };
}

/**
 * Joins hidden states along their width, as encoders side by side: [tokens, width].
 * @param parts all with the same number of tokens
 * @param width at least the sum of the parts' widths; the rest stays 0
 */
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

/** Joins arrays end to end. */
export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** The mean of hidden states over tokens, for encoders without a pooled output. */
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
 * The guidance scale g as an input of UNets that were distilled with guidance: sines and cosines of
 * 1000 (g - 1) (Meng et al. 2023, arXiv 2210.03142; diffusers' get_guidance_scale_embedding).
 * @param width length of the embedding, the UNet's `time_cond_proj_dim`
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
