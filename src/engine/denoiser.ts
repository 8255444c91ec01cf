import { type Feeds, runInBatches } from './batches.ts';
import { concatenate, type Family, type Inputs } from './families/family.ts';
import {
  type Graph,
  integers,
  pick,
  pickFloat,
  refuseOtherInputs,
  type Tensor,
  type Value,
} from './graphs/graph.ts';
import type { GenerationSpec, ModelSpec } from './messages.ts';

/** The graph that predicts noise, velocity or data: a UNet or a transformer. */
export class Denoiser {
  readonly graph: Graph;
  readonly #family: Family;
  readonly #latents: Value;
  readonly #timestep: Value;
  readonly #output: Value;

  /** @throws EngineError when the graph is not a denoiser of this family */
  constructor(graph: Graph, family: Family, model: ModelSpec) {
    this.graph = graph;
    this.#family = family;
    this.#latents = pickFloat(graph, 'inputs', family.latentsInput, [family.rank]);
    this.#timestep = pick(graph, 'inputs', 'timestep', [0, 1]);
    this.#output = pickFloat(graph, 'outputs', family.output, [family.rank]);
    const others = family.inputs(model).map((name) => pickNamed(graph, name));
    refuseOtherInputs(graph, [this.#latents.name, this.#timestep.name, ...others]);
  }

  /**
   * What the model says of `count` latents at one timestep.
   * @param latents [count, ...latentShape]
   * @param conditioning what `stackInputs` made, for `count` rows
   * @returns as the latents
   */
  async predict(
    latents: Float32Array,
    timestep: number,
    count: number,
    conditioning: { readonly rows: Feeds; readonly shared: Feeds },
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

  /** Each draw's inputs as feeds with a batch axis, in the order of `draws`. */
  stackInputs(draws: readonly Inputs[], shared: Inputs): { readonly rows: Feeds; readonly shared: Feeds } {
    const [first] = draws;
    const rows = Object.entries(first).map(([name, { dims }]): [string, Tensor] => [
      name,
      {
        type: 'float32',
        dims: [draws.length, ...dims],
        data: concatenate(draws.map((inputs) => inputs[name].data)),
      },
    ]);
    const same = Object.entries(shared).map(([name, { dims, data }]): [string, Tensor] => [
      name,
      { type: 'float32', dims, data },
    ]);
    return { rows: Object.fromEntries(rows), shared: Object.fromEntries(same) };
  }
}

/** The name of an input that has to be there; its rank is the family's affair. */
function pickNamed(graph: Graph, name: string): string {
  return pick(graph, 'inputs', name, [1, 2, 3]).name;
}

/** A scalar, [1] or [B], as the graph declares it. */
function timestepTensor(value: Value, timestep: number, batch: number): Tensor {
  if (value.shape.length === 0) return integers(value, [], [timestep]);
  const length = value.shape[0] === 1 ? 1 : batch;
  return integers(value, [length], new Array<number>(length).fill(timestep));
}
