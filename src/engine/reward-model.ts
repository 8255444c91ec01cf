import {
  type Graph,
  integers,
  openGraph,
  pick,
  pickFloat,
  refuseOtherInputs,
  type Tensor,
  type Value,
} from './backend.ts';
import { EngineError } from './engine-error.ts';
import type { EngineOptions, GenerationSpec, RawPicture, RewardSpec } from './messages.ts';
import { preprocess } from './preprocess.ts';

/** A reward's graph, opened: pictures and a prompt to scores. */
export class RewardModel {
  readonly #spec: RewardSpec;
  readonly #graph: Graph;
  readonly #pixels: Value;
  readonly #output: Value;

  private constructor(spec: RewardSpec, graph: Graph) {
    this.#spec = spec;
    this.#graph = graph;
    this.#pixels = pickFloat(graph, 'inputs', 'pixel_values', [4]);
    this.#output = pickFloat(graph, 'outputs', 'reward', [1, 2]);
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
  async score(pictures: readonly RawPicture[], text: GenerationSpec['rewardText']): Promise<number[]> {
    const [graph, pixels, output] = [this.#graph, this.#pixels, this.#output];
    const planes = pictures.map((picture) => preprocess(picture, this.#spec.preprocessing));
    const { width, height } = planes[0];
    const data = new Float32Array(pictures.length * 3 * width * height);
    for (const [i, plane] of planes.entries()) data.set(plane.values, i * 3 * width * height);
    const feeds: { [name: string]: Tensor } = {
      [pixels.name]: { type: 'float32', dims: [pictures.length, 3, height, width], data },
    };
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
      feeds[name] = integers(
        value,
        [pictures.length, ids.length],
        pictures.flatMap(() => ids),
      );
    }
    const { [output.name]: scores } = await graph.run(feeds, [output.name]);
    if (scores.length !== pictures.length)
      throw new EngineError(
        `The reward "${this.#spec.name}" gave ${scores.length} scores for ${pictures.length} pictures; it has to give one each.`,
      );
    return Array.from(scores, (score) => {
      if (Number.isFinite(score)) return score;
      throw new EngineError(
        `The reward "${this.#spec.name}" gave ${score} for a picture; scores have to be finite numbers.`,
      );
    });
  }

  async release(): Promise<void> {
    await this.#graph.release();
  }
}
