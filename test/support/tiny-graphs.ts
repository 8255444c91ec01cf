import ort from 'onnxruntime-node';
import { DiffusionModel } from '../../src/engine/diffusion-model.ts';
import type { ModelSpec } from '../../src/engine/generation-spec.ts';

type Backend = Parameters<typeof ort.registerBackend>[1];
type SessionHandler = Awaited<ReturnType<Backend['createInferenceSessionHandler']>>;

/** One run of the denoiser, by rows. */
export interface DenoiserRun {
  /** The first token of each row's prompt, which tells requests apart. */
  readonly prompts: readonly number[];
  readonly timesteps: readonly number[];
}

/** What tests change about the graphs, and what they see of them. */
export interface TinyGraphs {
  readonly runs: DenoiserRun[];
  /** Runs of the denoiser with more rows fail for want of memory; by default none. */
  maxRows: number;
  /** Fails the runs of the denoiser with this message; null: none. */
  failure: string | null;
}

/** Sizes of all values: 4 tokens of width 2, latents of 4 x 2 x 2, pictures of 16 x 16. */
export const TINY_LATENT = [4, 2, 2];

/**
 * A Stable Diffusion model whose three graphs are a few sums in JavaScript, behind ONNX Runtime's
 * interface for execution providers. Each row's result depends on all of its inputs. It shows which
 * rows each run of the denoiser has, and can run out of memory at a given size.
 * @param timestep shape of the denoiser's input: one for each row, or one for all
 */
export async function openTinyModel(
  name: string,
  timestep: readonly (string | number)[] = ['batch'],
): Promise<{ readonly spec: ModelSpec; readonly model: DiffusionModel; readonly graphs: TinyGraphs }> {
  const graphs: TinyGraphs = { runs: [], maxRows: Number.POSITIVE_INFINITY, failure: null };
  const sessions: { readonly [path: string]: SessionHandler } = {
    text: session(
      [value('input_ids', 'int64', ['batch', 4])],
      [value('last_hidden_state', 'float32', ['batch', 4, 2])],
      ({ input_ids }) =>
        tensor(
          Float32Array.from({ length: 8 }, (_, i) => Number(input_ids.data[i >> 1]) + (i % 2)),
          [1, 4, 2],
        ),
    ),
    unet: session(
      [
        value('sample', 'float32', ['batch', ...TINY_LATENT]),
        value('timestep', 'int64', timestep),
        value('encoder_hidden_states', 'float32', ['batch', 4, 2]),
      ],
      [value('out_sample', 'float32', ['batch', ...TINY_LATENT])],
      ({ sample, timestep: times, encoder_hidden_states: texts }) => {
        const [rows] = sample.dims;
        if (graphs.failure !== null) throw new Error(graphs.failure);
        if (rows > graphs.maxRows) throw new Error('BFCArena: failed to allocate memory');
        const timesteps = Array.from({ length: rows }, (_, i) =>
          Number(times.data[times.data.length === 1 ? 0 : i]),
        );
        const prompts = Array.from({ length: rows }, (_, i) => Number(texts.data[i * 8]));
        graphs.runs.push({ prompts, timesteps });
        const { length } = sample.data;
        const rowOf = (i: number) => Math.floor(i / (length / rows));
        return tensor(
          Float32Array.from(
            { length },
            (_, i) => Number(sample.data[i]) / 2 + prompts[rowOf(i)] / 100 + timesteps[rowOf(i)] / 1000,
          ),
          sample.dims,
        );
      },
    ),
    vae: session(
      [value('latent_sample', 'float32', ['batch', ...TINY_LATENT])],
      [value('sample', 'float32', ['batch', 3, 16, 16])],
      ({ latent_sample: { data, dims } }) =>
        tensor(
          Float32Array.from({ length: dims[0] * 768 }, (_, i) =>
            Math.sin(Number(data[Math.floor(i / 768) * 16 + (i % 16)])),
          ),
          [dims[0], 3, 16, 16],
        ),
    ),
  };
  ort.registerBackend(
    name,
    { init: async () => {}, createInferenceSessionHandler: async (path) => sessions[String(path)] },
    -1,
  );
  const spec: ModelSpec = {
    name,
    path: name,
    signature: '',
    family: 'stable-diffusion',
    graphs: { textEncoders: ['text'], denoiser: 'unet', vaeDecoder: 'vae' },
    schedulerConfig: {},
    scalingFactor: 1,
    shiftFactor: 0,
    channelStatistics: null,
    patchSize: 1,
    textWidths: [2],
    textWidth: 2,
    t5Tokens: 0,
    guidanceEmbeddingWidth: null,
    readsGuidance: false,
    zeroesEmptyNegative: false,
  };
  const model = await DiffusionModel.open(spec, { executionProviders: [name], threads: 1, batchSize: 4 });
  return { spec, model, graphs };
}

const value = (
  name: string,
  type: 'float32' | 'int64',
  shape: readonly (string | number)[],
): ort.InferenceSession.ValueMetadata => ({ name, type, shape, isTensor: true });

const tensor = (data: Float32Array, dims: readonly number[]) => new ort.Tensor('float32', data, dims);

function session(
  inputs: readonly ort.InferenceSession.ValueMetadata[],
  outputs: readonly ort.InferenceSession.ValueMetadata[],
  run: (feeds: { readonly [name: string]: ort.Tensor }) => ort.Tensor,
): SessionHandler {
  const [{ name }] = outputs;
  return {
    inputNames: inputs.map((input) => input.name),
    outputNames: [name],
    inputMetadata: inputs,
    outputMetadata: outputs,
    startProfiling() {},
    endProfiling() {},
    dispose: async () => {},
    run: async (feeds) => ({ [name]: run(feeds as { readonly [name: string]: ort.Tensor }) }),
  };
}
