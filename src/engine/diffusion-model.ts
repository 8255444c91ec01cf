import type { NoiseDraw } from '../search/generator.ts';
import { type Graph, integers, openGraph, pick, pickFloat, refuseOtherInputs, type Value } from './backend.ts';
import { type Conditioning, denoise, describeUnet, type Unet } from './denoise.ts';
import { EngineError } from './engine-error.ts';
import type { EngineOptions, GenerationSpec, ModelSpec, RawPicture } from './messages.ts';

/** Prompts whose embeddings are kept. */
const CACHE = 64;

interface TextEncoder {
  readonly graph: Graph;
  readonly inputIds: Value;
  readonly hiddenStates: Value;
  /** undefined: the graph has none. */
  readonly pooled: Value | undefined;
}

interface VaeDecoder {
  readonly graph: Graph;
  readonly latents: Value;
  readonly sample: Value;
}

/** The graphs of one model, opened: token ids to embeddings, noise to latents, latents to pictures. */
export class DiffusionModel {
  readonly #spec: ModelSpec;
  readonly #textEncoder: TextEncoder;
  readonly #unet: Unet;
  readonly #vaeDecoder: VaeDecoder;
  readonly #embeddings = new Map<string, { hidden: Float32Array; pooled: Float32Array }>();

  private constructor(spec: ModelSpec, textEncoder: TextEncoder, unet: Unet, vaeDecoder: VaeDecoder) {
    this.#spec = spec;
    this.#textEncoder = textEncoder;
    this.#unet = unet;
    this.#vaeDecoder = vaeDecoder;
  }

  /** @throws EngineError when a graph can't be opened or is not what its folder says; nothing stays open then */
  static async open(spec: ModelSpec, options: EngineOptions): Promise<DiffusionModel> {
    const opened: Graph[] = [];
    const open = async (path: string) => {
      const graph = await openGraph(path, options);
      opened.push(graph);
      return graph;
    };
    try {
      const textEncoder = describeTextEncoder(await open(spec.graphs.textEncoder));
      const unet = describeUnet(await open(spec.graphs.unet));
      const vaeDecoder = describeVaeDecoder(await open(spec.graphs.vaeDecoder));
      return new DiffusionModel(spec, textEncoder, unet, vaeDecoder);
    } catch (error) {
      for (const graph of opened) await graph.release();
      throw error;
    }
  }

  /** The prompt as one vector: the text encoder's pooled output, else the mean over its tokens. */
  async embedPrompt(spec: GenerationSpec): Promise<Float32Array> {
    return (await this.#encode(spec.promptIds)).pooled.slice();
  }

  /** Pictures of the draws, in their order. */
  async generate(
    spec: GenerationSpec,
    draws: readonly NoiseDraw[],
    betweenRuns: () => Promise<void>,
  ): Promise<RawPicture[]> {
    const prompt = await this.#encode(spec.promptIds);
    const negative = spec.guidanceScale > 1 ? await this.#encode(spec.negativePromptIds) : null;
    const tokens = spec.promptIds.length;
    const conditioning: Conditioning = {
      prompt: prompt.hidden,
      negative: negative?.hidden ?? null,
      tokens,
      width: prompt.hidden.length / tokens,
    };
    const latents = await denoise(this.#unet, spec, conditioning, draws, betweenRuns);
    await betweenRuns();
    return this.#decode(latents, spec, draws.length);
  }

  async release(): Promise<void> {
    for (const { graph } of [this.#textEncoder, this.#unet, this.#vaeDecoder]) await graph.release();
  }

  async #encode(ids: readonly number[]): Promise<{ hidden: Float32Array; pooled: Float32Array }> {
    const key = ids.join();
    const kept = this.#embeddings.get(key);
    if (kept) return kept;
    const { graph, inputIds, hiddenStates, pooled } = this.#textEncoder;
    const outputs = await graph.run(
      { [inputIds.name]: integers(inputIds, [1, ids.length], ids) },
      pooled ? [hiddenStates.name, pooled.name] : [hiddenStates.name],
    );
    const { [hiddenStates.name]: hidden } = outputs;
    const embedding = { hidden, pooled: pooled ? outputs[pooled.name] : meanOverTokens(hidden, ids.length) };
    const [oldest] = this.#embeddings.keys();
    if (this.#embeddings.size >= CACHE) this.#embeddings.delete(oldest);
    this.#embeddings.set(key, embedding);
    return embedding;
  }

  async #decode(latents: Float32Array, spec: GenerationSpec, count: number): Promise<RawPicture[]> {
    const { scalingFactor, shiftFactor, name } = this.#spec;
    const { graph, latents: input, sample: output } = this.#vaeDecoder;
    const data = latents.map((value) => value / scalingFactor + shiftFactor);
    const { [output.name]: samples } = await graph.run(
      { [input.name]: { type: 'float32', dims: [count, ...spec.latentShape], data } },
      [output.name],
    );
    const [, latentHeight, latentWidth] = spec.latentShape;
    const scale = Math.sqrt(samples.length / count / 3 / (latentHeight * latentWidth));
    const [height, width] = [latentHeight * scale, latentWidth * scale];
    return Array.from({ length: count }, (_, i) => {
      const planes = samples.subarray(i * 3 * height * width, (i + 1) * 3 * height * width);
      return { width, height, pixels: toPixels(planes, name) };
    });
  }
}

function describeTextEncoder(graph: Graph): TextEncoder {
  const inputIds = pick(graph, 'inputs', 'input_ids', [2]);
  refuseOtherInputs(graph, [inputIds.name]);
  return {
    graph,
    inputIds,
    hiddenStates: pickFloat(graph, 'outputs', 'last_hidden_state', [3]),
    pooled: graph.outputs.find(({ name }) => name === 'pooler_output' || name === 'text_embeds'),
  };
}

function describeVaeDecoder(graph: Graph): VaeDecoder {
  const latents = pickFloat(graph, 'inputs', 'latent_sample', [4]);
  refuseOtherInputs(graph, [latents.name]);
  return { graph, latents, sample: pickFloat(graph, 'outputs', 'sample', [4]) };
}

/** [3, H, W] in [-1, 1] to H * W * 3 bytes, as diffusers' image processor does: (x / 2 + 0.5), clipped, times 255, rounded. */
function toPixels(planes: Float32Array, model: string): Uint8Array {
  const plane = planes.length / 3;
  const pixels = new Uint8Array(planes.length);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < plane; i++) {
      const value = planes[channel * plane + i];
      if (!Number.isFinite(value)) {
        throw new EngineError(
          `${model} made a picture with ${value} in it. Where float16 is used, its range may be too small for this model; take a float32 VAE or graph.`,
        );
      }
      pixels[i * 3 + channel] = Math.round(Math.min(1, Math.max(0, value / 2 + 0.5)) * 255);
    }
  }
  return pixels;
}

function meanOverTokens(hidden: Float32Array, tokens: number): Float32Array {
  const width = hidden.length / tokens;
  const mean = new Float32Array(width);
  for (let i = 0; i < hidden.length; i++) mean[i % width] += hidden[i] / tokens;
  return mean;
}
