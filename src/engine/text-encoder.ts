import { EngineError } from './errors.ts';
import { runInBatches } from './graphs/batched-run.ts';
import { asFloat32 } from './graphs/float16.ts';
import {
  findFloatValue,
  findValue,
  type Graph,
  type GraphValue,
  outputNames,
  rejectOtherInputs,
  tensorFor,
} from './graphs/graph.ts';

/** Number of texts whose embeddings are cached. */
const MAX_CACHED_TEXTS = 64;

/** The output of a text encoder for one text. */
export interface TextEmbedding {
  /** Hidden states of the layer, [tokens, width]. */
  readonly hidden: Float32Array;
  readonly tokens: number;
  readonly width: number;
  /**
   * The whole text as one vector, projected if the encoder has a projection; null if it has none.
   */
  readonly pooled: Float32Array | null;
}

/**
 * The layer whose hidden states are used, in diffusers' terms.
 * - `last`: the last layer, after the final norm; `clipSkip` k uses the layer k before it, after
 *   the same norm (Stable Diffusion 1.x, 2.x).
 * - `penultimate`: the last layer but one, without a norm; `clipSkip` k uses the layer k before
 *   that (Stable Diffusion XL and 3).
 */
export interface Layer {
  readonly from: 'last' | 'penultimate';
  readonly clipSkip: number;
}

/** The graph of a text encoder, CLIP or T5. Caches the embeddings of the latest texts. */
export class TextEncoder {
  readonly graph: Graph;
  readonly #inputIds: GraphValue;
  readonly #pooled: GraphValue | undefined;
  readonly #layers: number;
  readonly #cache = new Map<string, TextEmbedding>();

  /**
   * @param pooled name of the pooled output that the family needs; null: optional, under any name
   * @throws EngineError if the graph is no text encoder, or lacks that output
   */
  constructor(graph: Graph, pooled: 'text_embeds' | 'pooler_output' | null) {
    this.graph = graph;
    this.#inputIds = findValue(graph, 'inputs', 'input_ids', [2]);
    rejectOtherInputs(graph, [this.#inputIds.name]);
    const vector = (name: string) =>
      graph.outputs.find((output) => output.name === name && output.shape.length === 2);
    this.#pooled = pooled ? vector(pooled) : (vector('pooler_output') ?? vector('text_embeds'));
    if (pooled && !this.#pooled) {
      throw new EngineError(
        `${graph.path} has no output "${pooled}", which this family needs (it has ${outputNames(graph)}). ` +
          'Does the graph belong to another text encoder? Export the model again.',
      );
    }
    this.#layers = graph.outputs.filter(({ name }) => /^hidden_states\.\d+$/.test(name)).length;
  }

  /**
   * Encodes one text.
   * @param ids token ids, as many as the tokenizer's window
   * @throws EngineError if the graph lacks the output for this layer
   */
  async encode(ids: readonly number[], layer: Layer): Promise<TextEmbedding> {
    const key = `${layer.from} ${layer.clipSkip} ${ids}`;
    const cached = this.#cache.get(key);
    if (cached) return cached;
    const hidden = this.#output(layer);
    const { [hidden]: values, ...others } = await runInBatches(
      this.graph,
      1,
      { [this.#inputIds.name]: tensorFor(this.#inputIds, [1, ids.length], ids) },
      {},
      this.#pooled ? [hidden, this.#pooled.name] : [hidden],
    );
    const [oldest] = this.#cache.keys();
    if (this.#cache.size >= MAX_CACHED_TEXTS) this.#cache.delete(oldest);
    const embedding = {
      hidden: asFloat32(values),
      tokens: ids.length,
      width: values.length / ids.length,
      pooled: this.#pooled ? asFloat32(others[this.#pooled.name]) : null,
    };
    this.#cache.set(key, embedding);
    return embedding;
  }

  /** Name of the output for a layer, as tools/export names them. */
  #output({ from, clipSkip }: Layer): string {
    if (from === 'last' && clipSkip === 0)
      return findFloatValue(this.graph, 'outputs', 'last_hidden_state', [3]).name;
    const name = from === 'last' ? `clip_skip.${clipSkip}` : `hidden_states.${this.#layers - 2 - clipSkip}`;
    if (this.graph.outputs.some((output) => output.name === name)) return name;
    throw new EngineError(
      `${this.graph.path} has no output "${name}" (it has ${outputNames(this.graph)}), which ` +
        (clipSkip === 0
          ? 'this family needs. Export'
          : `clipSkip ${clipSkip} needs. Use a smaller clipSkip, or export`) +
        ' the model again with tools/export.',
    );
  }
}
