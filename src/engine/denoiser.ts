import type { Family, Inputs } from './families/family.ts';
import type { ModelSpec } from './generation-spec.ts';
import { runInBatches } from './graphs/batched-run.ts';
import { fromFloat16, toFloat16 } from './graphs/float16.ts';
import {
  type Floats,
  findFloatValue,
  findValue,
  type Graph,
  type GraphValue,
  rejectOtherInputs,
  repeatedTensor,
  type Tensor,
  tensorFor,
} from './graphs/graph.ts';
import { guide } from './guidance.ts';

/** The denoiser's inputs that do not change during a denoising run. */
export interface Conditions {
  readonly prompt: Inputs;
  /** Of the negative prompt, for classifier-free guidance. */
  readonly negative: Inputs | null;
  readonly guidanceScale: number;
  /** Inputs that are the same for the whole batch. */
  readonly shared: Inputs;
  readonly latentShape: readonly number[];
}

/**
 * The model's predictions for a batch of latents at one timestep, guided if there is guidance.
 * @param latents [count, ...latentShape]
 * @param betweenRuns awaited before every graph run; stops the work by throwing
 * @returns [count, ...latentShape], which the next call overwrites
 */
export type Predict = (
  latents: Float32Array,
  timestep: number,
  betweenRuns: () => Promise<void>,
) => Promise<Float32Array>;

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
   * Prepares a denoising run of `count` latents. What stays the same at every step is stacked and
   * converted here, once.
   */
  prepare(conditions: Conditions, count: number): Predict {
    const { prompt, negative, guidanceScale, shared, latentShape } = conditions;
    const rows = negative ? [negative, prompt] : [prompt];
    const { packing } = this.#family;
    const batch = rows.length * count;
    const size = count * latentShape.reduce((product, length) => product * length, 1);
    const fixedRows = this.#stack(rows, count);
    const fixedShared = this.#stackShared(shared);
    const isHalf = this.#latents.type === 'float16';
    const input = isHalf ? new Uint16Array(rows.length * size) : new Float32Array(rows.length * size);
    const dims = [batch, ...(packing ? packing.dims(latentShape) : latentShape)];
    const sample = { type: isHalf ? 'float16' : 'float32', dims, data: input } as Tensor;
    const packed = packing ? new Float32Array(size) : null;
    const prediction = new Float32Array(size);
    const unpacked = packing ? new Float32Array(size) : null;
    const readOutput = (output: Floats): Float32Array => {
      if (negative) return guide(output, guidanceScale, prediction);
      return output instanceof Uint16Array ? fromFloat16(output, prediction) : output;
    };

    return async (latents, timestep, betweenRuns) => {
      const plain = packing && packed ? packing.pack(latents, latentShape, packed) : latents;
      if (input instanceof Uint16Array) toFloat16(plain, input);
      else input.set(plain);
      // Every evaluation is of the same latents.
      for (let row = 1; row < rows.length; row++) input.copyWithin(row * size, 0, size);
      const time = timestepTensor(this.#timestep, this.#family.timestep(timestep), batch);
      const isPerRow = time.dims[0] === batch && this.#timestep.shape[0] !== 1;
      const feeds = { ...fixedRows, [this.#latents.name]: sample };
      const { [this.#output.name]: output } = await runInBatches(
        this.graph,
        batch,
        isPerRow ? { ...feeds, [this.#timestep.name]: time } : feeds,
        isPerRow ? fixedShared : { ...fixedShared, [this.#timestep.name]: time },
        [this.#output.name],
        betweenRuns,
      );
      const values = readOutput(output);
      return packing && unpacked ? packing.unpack(values, latentShape, unpacked) : values;
    };
  }

  /** Stacks the inputs of each row along a new batch axis, `count` times each. */
  #stack(rows: readonly Inputs[], count: number): { [name: string]: Tensor } {
    return Object.fromEntries(
      Object.entries(rows[0]).map(([name, { dims }]) => [
        name,
        repeatedTensor(
          this.#inputNamed(name),
          [rows.length * count, ...dims],
          rows.map((inputs) => inputs[name].data),
          count,
        ),
      ]),
    );
  }

  #stackShared(shared: Inputs): { [name: string]: Tensor } {
    return Object.fromEntries(
      Object.entries(shared).map(([name, { dims, data }]) => [
        name,
        repeatedTensor(this.#inputNamed(name), dims, [data], 1),
      ]),
    );
  }

  #inputNamed(name: string): GraphValue {
    return findValue(this.graph, 'inputs', name, [1, 2, 3]);
  }
}

/** The timestep as a scalar, [1] or [B], as the graph declares it. */
function timestepTensor(value: GraphValue, timestep: number, batch: number): Tensor {
  if (value.shape.length === 0) return tensorFor(value, [], [timestep]);
  const length = value.shape[0] === 1 ? 1 : batch;
  return tensorFor(value, [length], new Array<number>(length).fill(timestep));
}
