import type { Picture } from '../core/picture.ts';
import { EngineError } from './errors.ts';
import type { RewardSpec, RewardText } from './generation-spec.ts';
import { runInBatches } from './graphs/batched-run.ts';
import { asFloat32 } from './graphs/float16.ts';
import {
  findFloatValue,
  findValue,
  type Graph,
  type GraphValue,
  type Outputs,
  outputNames,
  rejectOtherInputs,
  type Tensor,
  tensorFor,
} from './graphs/graph.ts';
import { openGraph } from './graphs/onnx-graph.ts';
import { preprocess } from './image-processor.ts';
import { measureStage } from './measurements.ts';
import type { EngineOptions } from './messages.ts';

/** The opened graph of a reward: pictures and a prompt to scores. */
export class RewardModel {
  readonly #spec: RewardSpec;
  readonly #graph: Graph;
  readonly #pixels: GraphValue;
  /** The outputs that the score is computed from: `reward`, or the embeddings of image and text. */
  readonly #outputs: readonly GraphValue[];

  private constructor(spec: RewardSpec, graph: Graph) {
    this.#spec = spec;
    this.#graph = graph;
    this.#pixels = findFloatValue(graph, 'inputs', 'pixel_values', [4]);
    this.#outputs =
      spec.scoring.type === 'output'
        ? [findFloatValue(graph, 'outputs', 'reward', [1, 2])]
        : ['image_embeds', 'text_embeds'].map((name) => findEmbedding(graph, name));
    rejectOtherInputs(graph, [this.#pixels.name, 'input_ids', 'attention_mask']);
  }

  /**
   * Opens the graph of a reward; after an error it does not stay open.
   * @throws EngineError if the graph cannot be opened or is not a reward's
   */
  static async open(spec: RewardSpec, options: EngineOptions): Promise<RewardModel> {
    const graph = await openGraph(spec.graph, options);
    try {
      return new RewardModel(spec, graph);
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  /**
   * Scores pictures in one run.
   * @returns one finite score per picture, in order
   * @throws EngineError if the graph gives anything else
   */
  async score(pictures: readonly Picture[], text: RewardText | null): Promise<number[]> {
    return measureStage('reward', this.#spec.name, () => this.#score(pictures, text));
  }

  async #score(pictures: readonly Picture[], text: RewardText | null): Promise<number[]> {
    const count = pictures.length;
    const planes = pictures.map((picture) => preprocess(picture, this.#spec.preprocessing));
    const { width, height } = planes[0];
    const data = new Float32Array(count * 3 * width * height);
    for (const [i, plane] of planes.entries()) data.set(plane.values, i * 3 * width * height);
    const rows: { [name: string]: Tensor } = {
      [this.#pixels.name]: { type: 'float32', dims: [count, 3, height, width], data },
      ...this.#textInputs(text, count),
    };
    const names = this.#outputs.map(({ name }) => name);
    const outputs = await runInBatches(this.#graph, count, rows, {}, names);
    const { mean, std } = this.#spec.scoring;
    return this.#rawScores(outputs, count).map((raw) => {
      const score = (raw - mean) / std;
      if (Number.isFinite(score)) return score;
      throw new EngineError(
        `The reward "${this.#spec.name}" gave ${raw} for a picture; scores have to be finite numbers.`,
      );
    });
  }

  /** Closes the graph. */
  async release(): Promise<void> {
    await this.#graph.release();
  }

  /** The inputs for the text, the same for each picture; none if the graph has no such inputs. */
  #textInputs(text: RewardText | null, count: number): { [name: string]: Tensor } {
    const graph = this.#graph;
    const rows: { [name: string]: Tensor } = {};
    for (const [name, ids] of [
      ['input_ids', text?.inputIds],
      ['attention_mask', text?.attentionMask],
    ] as const) {
      if (!graph.inputs.some((input) => input.name === name)) continue;
      if (!ids)
        throw new EngineError(
          `${graph.path} reads "${name}", but the reward "${this.#spec.name}" has no tokenizer; ` +
            'put its tokenizer files beside the graph.',
        );
      const value = findValue(graph, 'inputs', name, [2]);
      const repeated = Array.from({ length: count }, () => ids).flat();
      rows[name] = tensorFor(value, [count, ids.length], repeated);
    }
    return rows;
  }

  /** Scores before normalization with `mean` and `std`. */
  #rawScores(outputs: Outputs, count: number): number[] {
    const { scoring, name } = this.#spec;
    const [first, second] = this.#outputs.map((output) => asFloat32(outputs[output.name]));
    if (scoring.type === 'cosine') {
      const width = first.length / count;
      return Array.from({ length: count }, (_, i) => {
        const [image, text] = [first, second].map((all) => all.subarray(i * width, (i + 1) * width));
        return scoring.scale * cosine(image, text);
      });
    }
    if (first.length !== count)
      throw new EngineError(
        `The reward "${name}" gave ${first.length} scores for ${count} pictures; it has to give one each.`,
      );
    return [...first];
  }
}

/** Found by its name only: a CLIP graph has several outputs of the same rank. */
function findEmbedding(graph: Graph, name: string): GraphValue {
  if (graph.outputs.some((output) => output.name === name))
    return findFloatValue(graph, 'outputs', name, [2]);
  throw new EngineError(
    `${graph.path} has no "${name}" among its outputs (${outputNames(graph)}), which a reward with ` +
      '"score": {"type": "cosine"} is computed from; export the CLIP model again.',
  );
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, left, right] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    left += a[i] * a[i];
    right += b[i] * b[i];
  }
  return dot / Math.sqrt(left * right);
}
