import { concatenate, type Family, type Inputs } from './families/family.ts';
import type { GenerationSpec, ModelSpec } from './generation-spec.ts';
import { runInBatches } from './graphs/batched-run.ts';
import {
  type Feeds,
  findFloatValue,
  findValue,
  type Graph,
  type GraphValue,
  rejectOtherInputs,
  type Tensor,
  tensorFor,
} from './graphs/graph.ts';

/** Inputs of the denoiser besides latents and timestep, as tensors. */
export interface StackedInputs {
  /** Inputs whose first axis is the batch. */
  readonly rows: Feeds;
  /** Inputs that are the same for the whole batch. */
  readonly shared: Feeds;
}

/** The graph that predicts noise, velocity or data from latents: a UNet or a transformer. */
export class Denoiser {
  readonly graph: Graph;
  readonly #family: Family;
  readonly #latents: GraphValue;
  readonly #timestep: GraphValue;
  readonly #output: GraphValue;

  /** @throws EngineError if the graph is not a denoiser of this family */
  constructor(graph: Graph, family: Family, model: ModelSpec) {
    this.graph = graph;
    this.#family = family;
    this.#latents = findFloatValue(graph, 'inputs', family.latentsInput, [family.rank]);
    this.#timestep = findValue(graph, 'inputs', 'timestep', [0, 1]);
    this.#output = findFloatValue(graph, 'outputs', family.output, [family.rank]);
    // The ranks of the other inputs depend on the family.
    const others = family.inputs(model).map((name) => findValue(graph, 'inputs', name, [1, 2, 3]).name);
    rejectOtherInputs(graph, [this.#latents.name, this.#timestep.name, ...others]);
  }

  /**
   * The model's prediction for `count` latents at one timestep.
   * @param latents [count, ...latentShape]
   * @param conditioning from `stackInputs`, for `count` rows
   * @param betweenRuns awaited before every graph run; stops the work by throwing
   * @returns [count, ...latentShape]
   */
  async predict(
    latents: Float32Array,
    timestep: number,
    count: number,
    conditioning: StackedInputs,
    { latentShape }: GenerationSpec,
    betweenRuns: () => Promise<void>,
  ): Promise<Float32Array> {
    const { packing } = this.#family;
    const dims = [count, ...(packing ? packing.dims(latentShape) : latentShape)];
    const data = packing ? packing.pack(latents, latentShape) : latents;
    const time = timestepTensor(this.#timestep, this.#family.timestep(timestep), count);
    const isPerRow = time.dims[0] === count && this.#timestep.shape[0] !== 1;
    const rows = { [this.#latents.name]: { type: 'float32', dims, data } as const, ...conditioning.rows };
    const { [this.#output.name]: output } = await runInBatches(
      this.graph,
      count,
      isPerRow ? { ...rows, [this.#timestep.name]: time } : rows,
      isPerRow ? conditioning.shared : { ...conditioning.shared, [this.#timestep.name]: time },
      [this.#output.name],
      betweenRuns,
    );
    return packing ? packing.unpack(output, latentShape) : output;
  }

  /**
   * Stacks the inputs of each row along a new batch axis.
   * @param rows one entry per row, all with the same names and dims
   * @param shared inputs that are the same for every row
   */
  stackInputs(rows: readonly Inputs[], shared: Inputs): StackedInputs {
    const [first] = rows;
    const stacked = Object.entries(first).map(([name, { dims }]): [string, Tensor] => [
      name,
      {
        type: 'float32',
        dims: [rows.length, ...dims],
        data: concatenate(rows.map((inputs) => inputs[name].data)),
      },
    ]);
    const same = Object.entries(shared).map(([name, { dims, data }]): [string, Tensor] => [
      name,
      { type: 'float32', dims, data },
    ]);
    return { rows: Object.fromEntries(stacked), shared: Object.fromEntries(same) };
  }
}

/** The timestep as a scalar, [1] or [B], as the graph declares it. */
function timestepTensor(value: GraphValue, timestep: number, batch: number): Tensor {
  if (value.shape.length === 0) return tensorFor(value, [], [timestep]);
  const length = value.shape[0] === 1 ? 1 : batch;
  return tensorFor(value, [length], new Array<number>(length).fill(timestep));
}
