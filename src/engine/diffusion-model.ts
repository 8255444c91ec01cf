import { usesClassifierFreeGuidance } from '../bundles/families.ts';
import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import { denoise, type StepNoise } from './denoise.ts';
import { Denoiser } from './denoiser.ts';
import type { Conditioning, Family } from './families/family.ts';
import { FAMILIES } from './families/registry.ts';
import { EngineError } from './graphs/engine-error.ts';
import { type Graph, openGraph } from './graphs/graph.ts';
import type { EngineOptions, GenerationSpec, ModelSpec } from './messages.ts';
import { TextEncoder } from './text-encoder.ts';
import { VaeDecoder } from './vae-decoder.ts';

/** The graphs of one model, opened: token ids to embeddings, noise to latents, latents to pictures. */
export class DiffusionModel {
  readonly #family: Family;
  readonly #textEncoders: readonly TextEncoder[];
  readonly #denoiser: Denoiser;
  readonly #vaeDecoder: VaeDecoder;

  private constructor(
    family: Family,
    textEncoders: readonly TextEncoder[],
    denoiser: Denoiser,
    vaeDecoder: VaeDecoder,
  ) {
    this.#family = family;
    this.#textEncoders = textEncoders;
    this.#denoiser = denoiser;
    this.#vaeDecoder = vaeDecoder;
  }

  /** @throws EngineError when a graph can't be opened or is not what its folder says; nothing stays open then */
  static async open(model: ModelSpec, options: EngineOptions): Promise<DiffusionModel> {
    const opened: Graph[] = [];
    const open = async (path: string) => {
      const graph = await openGraph(path, options);
      opened.push(graph);
      return graph;
    };
    try {
      const { [model.family]: family } = FAMILIES;
      const textEncoders: TextEncoder[] = [];
      for (const [i, path] of model.graphs.textEncoders.entries()) {
        const encoder = new TextEncoder(await open(path), family.pooled[i]);
        checkWidth(encoder, model.textWidths[i]);
        textEncoders.push(encoder);
      }
      const denoiser = new Denoiser(await open(model.graphs.denoiser), family, model);
      const vaeDecoder = new VaeDecoder(await open(model.graphs.vaeDecoder), model);
      return new DiffusionModel(family, textEncoders, denoiser, vaeDecoder);
    } catch (error) {
      for (const graph of opened) await graph.release();
      throw error;
    }
  }

  /** The prompt as one vector: the text encoder's pooled output, else the mean over its tokens. */
  async embedPrompt(spec: GenerationSpec): Promise<Float32Array> {
    return (await this.#encode(spec.promptIds, spec, false)).embedding.slice();
  }

  /** Pictures of the draws, in their order. */
  async generate(
    spec: GenerationSpec,
    draws: readonly Noise[],
    betweenRuns: () => Promise<void>,
    stepNoise?: StepNoise,
  ): Promise<Picture[]> {
    const latents = await this.denoise(spec, draws, betweenRuns, stepNoise);
    return this.#vaeDecoder.decode(latents, spec.latentShape, betweenRuns);
  }

  /** Final latents of the draws, [B, ...latentShape]. */
  async denoise(
    spec: GenerationSpec,
    draws: readonly Noise[],
    betweenRuns: () => Promise<void>,
    stepNoise?: StepNoise,
  ): Promise<Float32Array> {
    const prompt = await this.#encode(spec.promptIds, spec, false);
    const isGuided = usesClassifierFreeGuidance(spec.model, spec.guidanceScale);
    const negative = isGuided ? await this.#encode(spec.negativePromptIds, spec, true) : null;
    const parts = { denoiser: this.#denoiser, family: this.#family };
    return denoise(parts, spec, { prompt, negative }, draws, betweenRuns, stepNoise);
  }

  async release(): Promise<void> {
    for (const { graph } of [...this.#textEncoders, this.#denoiser, this.#vaeDecoder]) await graph.release();
  }

  #encode(
    ids: readonly (readonly number[])[],
    spec: GenerationSpec,
    isNegative: boolean,
  ): Promise<Conditioning> {
    return this.#family.encode(this.#textEncoders, { ids, isNegative }, spec);
  }
}

/** Two text encoders that were swapped show by the width of what they make. */
function checkWidth({ graph }: TextEncoder, expected: number | null): void {
  const width = graph.outputs.find(({ name }) => name === 'last_hidden_state')?.shape[2];
  if (expected === null || typeof width !== 'number' || width === expected) return;
  throw new EngineError(
    `${graph.path} makes vectors of ${width} numbers, but the config.json beside it says hidden_size ${expected}; the graph is another text encoder's. Export the model again, or put each graph beside its own config.`,
  );
}
