import type { Picture } from '../core/picture.ts';
import { EngineError } from './errors.ts';
import type { ModelSpec } from './generation-spec.ts';
import { runInBatches } from './graphs/batched-run.ts';
import {
  type Floats,
  findFloatValue,
  type Graph,
  type GraphValue,
  rejectOtherInputs,
} from './graphs/graph.ts';
import { findNotFinite, toPixels } from './pixels.ts';

/** The graph that decodes latents to pictures. */
export class VaeDecoder {
  readonly graph: Graph;
  readonly #model: ModelSpec;
  readonly #latents: GraphValue;
  readonly #sample: GraphValue;

  /** @throws EngineError if the graph is no decoder */
  constructor(graph: Graph, model: ModelSpec) {
    this.graph = graph;
    this.#model = model;
    this.#latents = findFloatValue(graph, 'inputs', 'latent_sample', [4]);
    rejectOtherInputs(graph, [this.#latents.name]);
    this.#sample = findFloatValue(graph, 'outputs', 'sample', [4]);
  }

  /**
   * Decodes latents to pictures, in order.
   * @param latents [count, C, H, W], the result of the denoising loop
   * @param latentShape [C, H, W]
   * @param betweenRuns awaited before every graph run; stops the work by throwing
   * @throws EngineError if the latents or the pictures have numbers that are not finite
   */
  async decode(
    latents: Float32Array,
    latentShape: readonly number[],
    betweenRuns: () => Promise<void>,
  ): Promise<Picture[]> {
    const [, latentHeight, latentWidth] = latentShape;
    const count = latents.length / latentShape.reduce((product, size) => product * size, 1);
    this.#checkFinite(latents, 'latents');
    const { [this.#sample.name]: samples } = await runInBatches(
      this.graph,
      count,
      {
        [this.#latents.name]: {
          type: 'float32',
          dims: [count, ...latentShape],
          data: this.#unscale(latents, latentShape),
        },
      },
      {},
      [this.#sample.name],
      betweenRuns,
    );
    this.#checkFinite(samples, 'pictures');
    const scale = Math.sqrt(samples.length / count / 3 / (latentHeight * latentWidth));
    const [height, width] = [latentHeight * scale, latentWidth * scale];
    return Array.from({ length: count }, (_, i) => {
      const planes = samples.subarray(i * 3 * height * width, (i + 1) * 3 * height * width);
      return { width, height, pixels: toPixels(planes) };
    });
  }

  /** A number that is not finite would silently become a black picture. */
  #checkFinite(numbers: Floats, what: 'latents' | 'pictures'): void {
    const wrong = findNotFinite(numbers);
    if (wrong === undefined) return;
    const { name, graphs } = this.#model;
    if (what === 'latents') {
      throw new EngineError(
        `${name} made latents with ${wrong} in them: its denoiser (${graphs.denoiser}) overflows. If it ` +
          'computes in float16, export it in float32 (tools/export, --dtype fp32). Otherwise its weights ' +
          "are damaged, or the sampler's settings are extreme.",
      );
    }
    const isHalf = [...this.graph.inputs, ...this.graph.outputs].some(({ type }) => type === 'float16');
    throw new EngineError(
      isHalf
        ? `The VAE of ${name} (${this.graph.path}) overflows in float16: it made a picture with ${wrong} ` +
            'in it from finite latents. Export the model again with its VAE in float32 ' +
            '(tools/export/import_checkpoint.py with --vae-dtype fp32); the other parts may stay in float16.'
        : `The VAE of ${name} (${this.graph.path}) made a picture with ${wrong} in it from finite latents. ` +
            'Its weights are damaged, or were converted from float16 weights that had overflowed; import ' +
            'the model again from its checkpoint.',
    );
  }

  /**
   * Undoes the scaling of latents: z / scaling_factor + shift_factor, or with the mean and
   * deviation of each channel.
   */
  #unscale(latents: Float32Array, [channels, height, width]: readonly number[]): Float32Array {
    const { scalingFactor, shiftFactor, channelStatistics } = this.#model;
    const unscaled = new Float32Array(latents.length);
    if (!channelStatistics) {
      for (let i = 0; i < latents.length; i++) unscaled[i] = latents[i] / scalingFactor + shiftFactor;
      return unscaled;
    }
    const plane = height * width;
    for (let start = 0; start < latents.length; start += plane) {
      const channel = (start / plane) % channels;
      const [mean, std] = [channelStatistics.mean[channel], channelStatistics.std[channel]];
      for (let i = start; i < start + plane; i++) unscaled[i] = (latents[i] * std) / scalingFactor + mean;
    }
    return unscaled;
  }
}
