import { type Graph, pickFloat, refuseOtherInputs, type Value } from './backend.ts';
import { runInBatches } from './batches.ts';
import { EngineError } from './engine-error.ts';
import type { ModelSpec, RawPicture } from './messages.ts';

/** The graph that makes pictures of latents. */
export class VaeDecoder {
  readonly graph: Graph;
  readonly #model: ModelSpec;
  readonly #latents: Value;
  readonly #sample: Value;

  /** @throws EngineError when the graph is no decoder */
  constructor(graph: Graph, model: ModelSpec) {
    this.graph = graph;
    this.#model = model;
    this.#latents = pickFloat(graph, 'inputs', 'latent_sample', [4]);
    refuseOtherInputs(graph, [this.#latents.name]);
    this.#sample = pickFloat(graph, 'outputs', 'sample', [4]);
  }

  /** @param latents [count, C, H, W] as the denoising loop left them */
  async decode(
    latents: Float32Array,
    latentShape: readonly number[],
    betweenRuns: () => Promise<void>,
  ): Promise<RawPicture[]> {
    const [, latentHeight, latentWidth] = latentShape;
    const count = latents.length / latentShape.reduce((product, size) => product * size, 1);
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
    const scale = Math.sqrt(samples.length / count / 3 / (latentHeight * latentWidth));
    const [height, width] = [latentHeight * scale, latentWidth * scale];
    return Array.from({ length: count }, (_, i) => {
      const planes = samples.subarray(i * 3 * height * width, (i + 1) * 3 * height * width);
      return { width, height, pixels: toPixels(planes, this.#model.name) };
    });
  }

  /** Back to the autoencoder's own range: z / scaling_factor + shift_factor, or with a mean and deviation for each channel. */
  #unscale(latents: Float32Array, [channels, height, width]: readonly number[]): Float32Array {
    const { scalingFactor, shiftFactor, channelStatistics } = this.#model;
    if (!channelStatistics) return latents.map((value) => value / scalingFactor + shiftFactor);
    const { mean, std } = channelStatistics;
    return latents.map((value, i) => {
      const channel = Math.floor(i / (height * width)) % channels;
      return (value * std[channel]) / scalingFactor + mean[channel];
    });
  }
}

/** [3, H, W] in [-1, 1] to H * W * 3 bytes, as diffusers' image processor does: (x / 2 + 0.5), clipped, times 255, rounded. */
function toPixels(planes: Float32Array, model: string): Uint8Array {
  const plane = planes.length / 3;
  const pixels = new Uint8Array(planes.length);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < plane; i++) {
      const value = planes[channel * plane + i];
      if (!Number.isFinite(value)) {
        throw new EngineError(
          `${model} made a picture with ${value} in it. Where float16 is used, its range may be too small for this model; take a float32 VAE or graph.`,
        );
      }
      pixels[i * 3 + channel] = Math.round(Math.min(1, Math.max(0, value / 2 + 0.5)) * 255);
    }
  }
  return pixels;
}
