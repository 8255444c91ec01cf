import { runInBatches } from './batches.ts';
import { EngineError } from './graphs/engine-error.ts';
import { type Graph, integers, pick, pickFloat, refuseOtherInputs, type Value } from './graphs/graph.ts';

/** Texts whose embeddings are kept. */
const CACHE = 64;

/** What a text encoder makes of one text. */
export interface TextEmbedding {
  /** [tokens, width] */
  readonly hidden: Float32Array;
  readonly tokens: number;
  readonly width: number;
  /** The whole text as one vector: the projected one where the encoder has a projection. null: it has none. */
  readonly pooled: Float32Array | null;
}

/**
 * Which layer is read, in diffusers' terms.
 * - `last`: the last, after its norm; `clipSkip` k takes the one k before it, after the same norm (Stable Diffusion 1.x, 2.x).
 * - `penultimate`: the last but one, without a norm, or `clipSkip` before that (Stable Diffusion XL and 3).
 */
export interface Layer {
  readonly from: 'last' | 'penultimate';
  readonly clipSkip: number;
}

/** A text encoder's graph: CLIP or T5. Embeddings are kept for the last texts. */
export class TextEncoder {
  readonly graph: Graph;
  readonly #inputIds: Value;
  readonly #pooled: Value | undefined;
  readonly #layers: number;
  readonly #kept = new Map<string, TextEmbedding>();

  /**
   * @param pooled the output that it has to have beside the hidden states; null: none, or whichever it has
   * @throws EngineError when the graph is no text encoder, or not of that kind
   */
  constructor(graph: Graph, pooled: 'text_embeds' | 'pooler_output' | null) {
    this.graph = graph;
    this.#inputIds = pick(graph, 'inputs', 'input_ids', [2]);
    refuseOtherInputs(graph, [this.#inputIds.name]);
    const vector = (name: string) =>
      graph.outputs.find((output) => output.name === name && output.shape.length === 2);
    this.#pooled = pooled ? vector(pooled) : (vector('pooler_output') ?? vector('text_embeds'));
    if (pooled && !this.#pooled) {
      throw new EngineError(
        `${graph.path} has no output "${pooled}", which this family reads from it (it has ${names(graph)}). Is it another text encoder's graph? Export the model again.`,
      );
    }
    this.#layers = graph.outputs.filter(({ name }) => /^hidden_states\.\d+$/.test(name)).length;
  }

  /** @param ids the tokenizer's window of token ids */
  async encode(ids: readonly number[], layer: Layer): Promise<TextEmbedding> {
    const key = `${layer.from} ${layer.clipSkip} ${ids}`;
    const kept = this.#kept.get(key);
    if (kept) return kept;
    const hidden = this.#output(layer);
    const { [hidden]: values, ...others } = await runInBatches(
      this.graph,
      1,
      { [this.#inputIds.name]: integers(this.#inputIds, [1, ids.length], ids) },
      {},
      this.#pooled ? [hidden, this.#pooled.name] : [hidden],
    );
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= CACHE) this.#kept.delete(oldest);
    const embedding = {
      hidden: values,
      tokens: ids.length,
      width: values.length / ids.length,
      pooled: this.#pooled ? others[this.#pooled.name] : null,
    };
    this.#kept.set(key, embedding);
    return embedding;
  }

  #output({ from, clipSkip }: Layer): string {
    if (from === 'last' && clipSkip === 0)
      return pickFloat(this.graph, 'outputs', 'last_hidden_state', [3]).name;
    const name = from === 'last' ? `clip_skip.${clipSkip}` : `hidden_states.${this.#layers - 2 - clipSkip}`;
    if (this.graph.outputs.some((output) => output.name === name)) return name;
    throw new EngineError(
      `${this.graph.path} has no output "${name}" (it has ${names(this.graph)}), which ${
        clipSkip === 0
          ? 'this family reads. Export'
          : `clipSkip ${clipSkip} reads. Take a smaller clipSkip, or export`
      } the model again with tools/export.`,
    );
  }
}

function names(graph: Graph): string {
  return graph.outputs.map(({ name }) => name).join(', ');
}
