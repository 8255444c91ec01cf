import type { Picture } from '../core/picture.ts';
import { runInBatches } from './batches.ts';
import { EngineError } from './graphs/engine-error.ts';
import {
  type Graph,
  integers,
  openGraph,
  pick,
  pickFloat,
  refuseOtherInputs,
  type Tensor,
  type Value,
} from './graphs/graph.ts';
import type { EngineOptions, RewardSpec, RewardText } from './messages.ts';
import { preprocess } from './preprocess.ts';

/** A reward's graph, opened: pictures and a prompt to scores. */
export class RewardModel {
  readonly #spec: RewardSpec;
  readonly #graph: Graph;
  readonly #pixels: Value;
  /** What the score is made of: `reward`, or the embeddings of image and text. */
  readonly #outputs: readonly Value[];

  private constructor(spec: RewardSpec, graph: Graph) {
    this.#spec = spec;
    this.#graph = graph;
    this.#pixels = pickFloat(graph, 'inputs', 'pixel_values', [4]);
    this.#outputs =
      spec.scoring.type === 'output'
        ? [pickFloat(graph, 'outputs', 'reward', [1, 2])]
        : ['image_embeds', 'text_embeds'].map((name) => pickEmbedding(graph, name));
    refuseOtherInputs(graph, [this.#pixels.name, 'input_ids', 'attention_mask']);
  }

  /** @throws EngineError when the graph can't be opened or is no reward's; it does not stay open then */
  static async open(spec: RewardSpec, options: EngineOptions): Promise<RewardModel> {
    const graph = await openGraph(spec.graph, options);
    try {
      return new RewardModel(spec, graph);
    } catch (error) {
      await graph.release();
      throw error;
    }
  }

  /** One finite score per picture. */
  async score(pictures: readonly Picture[], text: RewardText | null): Promise<number[]> {
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

  async release(): Promise<void> {
    await this.#graph.release();
  }

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
          `${graph.path} reads "${name}", but the reward "${this.#spec.name}" has no tokenizer; put its tokenizer files beside the graph.`,
        );
      const value = pick(graph, 'inputs', name, [2]);
      const repeated = Array.from({ length: count }, () => ids).flat();
      rows[name] = integers(value, [count, ids.length], repeated);
    }
    return rows;
  }

  #rawScores(outputs: { [name: string]: Float32Array }, count: number): number[] {
    const { scoring, name } = this.#spec;
    const [first, second] = this.#outputs.map((output) => outputs[output.name]);
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

/** By name alone: a CLIP graph has several outputs of one rank. */
function pickEmbedding(graph: Graph, name: string): Value {
  if (graph.outputs.some((output) => output.name === name)) return pickFloat(graph, 'outputs', name, [2]);
  throw new EngineError(
    `${graph.path} has no "${name}" among its outputs (${graph.outputs.map((output) => output.name).join(', ')}), which a reward with "score": {"type": "cosine"} is made of; export the CLIP model again.`,
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
