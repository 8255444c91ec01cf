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
import type { DenoiserLoad } from './messages.ts';

const load = { runs: 0, noises: 0, places: 0 };

/** How full the runs of this thread's denoisers were. */
export function denoiserLoad(): DenoiserLoad {
  return { ...load };
}

/** What conditions the prediction for a latent; the same at every step. */
export interface Conditions {
  readonly prompt: Inputs;
  /** Of the negative prompt, for classifier-free guidance. */
  readonly negative: Inputs | null;
  readonly guidanceScale: number;
}

/** Latents of a run with the same conditions, one after the other. */
export interface Rows {
  readonly conditions: Conditions;
  /** Number of latents, 1 or more. */
  readonly count: number;
}

/** One step of the latents of a `Rows`. */
export interface RowValues {
  /** The model's input, [count, ...latentShape]. */
  readonly latents: Float32Array;
  readonly timestep: number;
  /** Where the prediction is written, guided if there is guidance; as long as `latents`. */
  readonly prediction: Float32Array;
}

/** The parts of a run that are the same for all of its rows. */
export interface RunShape {
  readonly latentShape: readonly number[];
  /** Inputs without a batch axis. */
  readonly shared: Inputs;
  /**
   * Latents of the run, padding included: the last latent is repeated, and the results of its
   * copies are dropped. By default there is no padding.
   */
  readonly size?: number;
}

/**
 * Predicts from latents, one entry for each `Rows`.
 * @param betweenRuns awaited before every graph run; stops the work by throwing
 */
export type Predict = (values: readonly RowValues[], betweenRuns: () => Promise<void>) => Promise<void>;

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

  /** Whether the rows of a run can be at different timesteps. */
  get takesTimestepPerRow(): boolean {
    return this.#timestep.shape.length === 1 && this.#timestep.shape[0] !== 1;
  }

  /**
   * Prepares runs on these rows, all of them with guidance or all without. What stays the same at
   * every step is stacked and converted here, once. Rows at different timesteps need a graph that
   * takes a timestep per row.
   */
  prepare(rows: readonly Rows[], { latentShape, shared, size: paddedSize }: RunShape): Predict {
    const { packing } = this.#family;
    const length = latentShape.reduce((product, axis) => product * axis, 1);
    const count = rows.reduce((sum, one) => sum + one.count, 0);
    // A graph with a fixed batch size needs no other padding than `runInBatches` adds.
    const size = typeof this.#latents.shape[0] === 'number' ? count : (paddedSize ?? count);
    // The first half of the run is for the negative prompts, if there are any.
    const halves = rows[0].conditions.negative ? 2 : 1;
    const batch = halves * size;
    const repeats = rows.map((one, i) => (i === rows.length - 1 ? one.count + size - count : one.count));
    const fixedRows = this.#stack(rows, repeats);
    const fixedShared = this.#stackShared(shared);
    const isHalf = this.#latents.type === 'float16';
    const input = isHalf ? new Uint16Array(batch * length) : new Float32Array(batch * length);
    const dims = [batch, ...(packing ? packing.dims(latentShape) : latentShape)];
    const sample = { type: isHalf ? 'float16' : 'float32', dims, data: input } as Tensor;
    const scratch = packing ? new Float32Array(count * length) : null;

    const writeLatents = (values: readonly RowValues[]) => {
      let end = 0;
      for (const { latents } of values) {
        const plain =
          packing && scratch
            ? packing.pack(latents, latentShape, scratch.subarray(0, latents.length))
            : latents;
        if (input instanceof Uint16Array) toFloat16(plain, input.subarray(end, end + plain.length));
        else input.set(plain, end);
        end += plain.length;
      }
      const last = end - length;
      for (; end < size * length; end += length) input.copyWithin(end, last, last + length);
      if (halves === 2) input.copyWithin(end, 0, end);
    };
    const readPredictions = (output: Floats, values: readonly RowValues[]) => {
      let start = 0;
      for (const [i, { prediction }] of values.entries()) {
        const end = start + prediction.length;
        const into = packing && scratch ? scratch.subarray(0, prediction.length) : prediction;
        const first = output.subarray(start, end);
        const second = output.subarray(size * length + start, size * length + end);
        if (halves === 2) guide(first, second, rows[i].conditions.guidanceScale, into);
        else if (first instanceof Uint16Array) fromFloat16(first, into);
        else into.set(first);
        if (packing) packing.unpack(into, latentShape, prediction);
        start = end;
      }
    };
    const timeRows = (values: readonly RowValues[]) => {
      const half = values.flatMap(({ timestep }, i) =>
        new Array<number>(repeats[i]).fill(this.#family.timestep(timestep)),
      );
      return tensorFor(this.#timestep, [batch], halves === 2 ? [...half, ...half] : half);
    };

    return async (values, betweenRuns) => {
      writeLatents(values);
      const feeds = { ...fixedRows, [this.#latents.name]: sample };
      const { name } = this.#timestep;
      const { [this.#output.name]: output } = await runInBatches(
        this.graph,
        batch,
        this.takesTimestepPerRow ? { ...feeds, [name]: timeRows(values) } : feeds,
        this.takesTimestepPerRow ? fixedShared : { ...fixedShared, [name]: this.#timeOf(values) },
        [this.#output.name],
        betweenRuns,
      );
      readPredictions(output, values);
      load.runs++;
      load.noises += count;
      load.places += size;
    };
  }

  /** The one timestep of all rows, as a scalar or [1]. */
  #timeOf(values: readonly RowValues[]): Tensor {
    const [{ timestep }] = values;
    return tensorFor(
      this.#timestep,
      this.#timestep.shape.map(() => 1),
      [this.#family.timestep(timestep)],
    );
  }

  /** Stacks inputs along a new batch axis: those of all negative prompts, then of all prompts. */
  #stack(rows: readonly Rows[], repeats: readonly number[]): { [name: string]: Tensor } {
    const halves = [
      rows.map(({ conditions }) => conditions.negative),
      rows.map(({ conditions }) => conditions.prompt),
    ];
    const inputs = halves.flatMap((half) =>
      half.flatMap((one, i) => (one ? [{ inputs: one, repeats: repeats[i] }] : [])),
    );
    const batch = inputs.reduce((sum, one) => sum + one.repeats, 0);
    return Object.fromEntries(
      Object.entries(rows[0].conditions.prompt).map(([name, { dims }]) => [
        name,
        repeatedTensor(
          this.#inputNamed(name),
          [batch, ...dims],
          inputs.map((one) => ({ values: one.inputs[name].data, repeats: one.repeats })),
        ),
      ]),
    );
  }

  #stackShared(shared: Inputs): { [name: string]: Tensor } {
    return Object.fromEntries(
      Object.entries(shared).map(([name, { dims, data }]) => [
        name,
        repeatedTensor(this.#inputNamed(name), dims, [{ values: data, repeats: 1 }]),
      ]),
    );
  }

  #inputNamed(name: string): GraphValue {
    return findValue(this.graph, 'inputs', name, [1, 2, 3]);
  }
}
