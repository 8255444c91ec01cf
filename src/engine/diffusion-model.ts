import { usesClassifierFreeGuidance } from '../bundles/families.ts';
import type { Noise } from '../core/noise.ts';
import type { Picture } from '../core/picture.ts';
import { Denoiser } from './denoiser.ts';
import { denoise, type StepNoise } from './denoising-loop.ts';
import { EngineError } from './errors.ts';
import type { Conditioning, Family } from './families/family.ts';
import { FAMILIES } from './families/registry.ts';
import type { GenerationSpec, ModelSpec } from './generation-spec.ts';
import type { Graph } from './graphs/graph.ts';
import { openGraph } from './graphs/onnx-graph.ts';
import type { EngineOptions } from './messages.ts';
import { TextEncoder } from './text-encoder.ts';
import { VaeDecoder } from './vae-decoder.ts';

/**
 * The opened graphs of one model: token ids to embeddings, noise to latents, latents to pictures.
 */
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

  /**
   * Opens all graphs of a model; after an error none stays open.
   * @throws EngineError if a graph cannot be opened or does not fit its place in the folder
   */
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

  /**
   * Makes one picture per noise, in order.
   * @param betweenRuns awaited before every graph run; stops the work by throwing
   * @param stepNoise replaced in tests only
   */
  async generate(
    spec: GenerationSpec,
    noises: readonly Noise[],
    betweenRuns: () => Promise<void>,
    stepNoise?: StepNoise,
  ): Promise<Picture[]> {
    return this.decode(spec, await this.denoise(spec, noises, betweenRuns, stepNoise), betweenRuns);
  }

  /**
   * Denoises a batch of noises; the first half of `generate`.
   * @returns the final latents, [B, ...latentShape]
   */
  async denoise(
    spec: GenerationSpec,
    noises: readonly Noise[],
    betweenRuns: () => Promise<void>,
    stepNoise?: StepNoise,
  ): Promise<Float32Array> {
    const prompt = await this.#encode(spec.promptIds, spec, false);
    const isGuided = usesClassifierFreeGuidance(spec.model, spec.sampler.guidanceScale);
    const negative = isGuided ? await this.#encode(spec.negativePromptIds, spec, true) : null;
    const parts = { denoiser: this.#denoiser, family: this.#family };
    return denoise(parts, spec, { prompt, negative }, noises, betweenRuns, stepNoise);
  }

  /** Decodes the latents of `denoise` to pictures; the second half of `generate`. */
  decode(spec: GenerationSpec, latents: Float32Array, betweenRuns: () => Promise<void>): Promise<Picture[]> {
    return this.#vaeDecoder.decode(latents, spec.latentShape, betweenRuns);
  }

  /** Closes all graphs. */
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

/** Text encoders in swapped folders differ by the width of their hidden states. */
function checkWidth({ graph }: TextEncoder, expected: number | null): void {
  const width = graph.outputs.find(({ name }) => name === 'last_hidden_state')?.shape[2];
  if (expected === null || typeof width !== 'number' || width === expected) return;
  throw new EngineError(
    `${graph.path} makes vectors of ${width} numbers, but the config.json beside it says hidden_size ` +
      `${expected}, so the graph belongs to another text encoder. Export the model again, or put each ` +
      'graph beside its own config.',
  );
}
