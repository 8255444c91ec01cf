import { rootMeanSquare } from '../statistics.ts';

/**
 * Noises in two bands: coarse, the means of 2x2 blocks over the last two axes (the approximation of a Haar wavelet: a quarter of the numbers of
 * N(0, I)), and fine, what is left. Pictures, and so rewards, depend on the coarse part of their initial noise far more than on the fine one
 * (Wu et al. 2023, "FreeInit", arXiv 2312.07537, section 3.2). Both parts are orthogonal projections, so what turns each on its own keeps N(0, I).
 *
 * Latents with fewer than two axes, or of one number in both, have no bands: all of them is coarse.
 */
export class Bands {
  readonly #height: number;
  readonly #width: number;
  readonly #hasFine: boolean;
  /** By which the bands are multiplied in the weighted metric. */
  readonly #coarseScale: number;
  readonly #fineScale: number;

  /** @param coarseWeight share of the coarse band in the squared distance of two noises, in (0, 1) */
  constructor(shape: readonly number[], coarseWeight: number) {
    [this.#height, this.#width] = shape.length < 2 ? [1, 1] : shape.slice(-2);
    this.#hasFine = this.#height * this.#width > 1;
    const blocks = Math.ceil(this.#height / 2) * Math.ceil(this.#width / 2);
    const share = this.#hasFine ? blocks / (this.#height * this.#width) : 1;
    this.#coarseScale = this.#hasFine ? Math.sqrt(coarseWeight / share) : 1;
    this.#fineScale = this.#hasFine ? Math.sqrt((1 - coarseWeight) / (1 - share)) : 1;
  }

  /** The noise in the metric of the rewards: each band at the norm that N(0, I) gives it, times its weight. */
  weigh(noise: Float32Array): Float32Array {
    return this.#scaled(noise, this.#coarseScale, this.#fineScale);
  }

  /** What `weigh` made of a noise, or a combination of such, as a noise again. */
  unweigh(weighted: Float32Array): Float32Array {
    return this.#scaled(weighted, 1, 1);
  }

  /** c z + sqrt(1 - c^2) eps in each band with its own c: from N(0, I) where z and eps are. */
  blend(centre: Float32Array, eps: Float32Array, coarseC: number, fineC: number): Float32Array {
    const [centreCoarse, epsCoarse] = [this.#coarse(centre), this.#coarse(eps)];
    const [coarseSpread, fineSpread] = [Math.sqrt(1 - coarseC ** 2), Math.sqrt(1 - fineC ** 2)];
    return centre.map(
      (value, i) =>
        coarseC * centreCoarse[i] +
        coarseSpread * epsCoarse[i] +
        fineC * (value - centreCoarse[i]) +
        fineSpread * (eps[i] - epsCoarse[i]),
    );
  }

  #scaled(noise: Float32Array, coarseScale: number, fineScale: number): Float32Array {
    const coarse = this.#coarse(noise);
    const fine = noise.map((value, i) => value - coarse[i]);
    const share = this.#share();
    const coarseSize = (coarseScale * Math.sqrt(share)) / (rootMeanSquare(coarse) || 1);
    const fineSize = this.#hasFine ? (fineScale * Math.sqrt(1 - share)) / (rootMeanSquare(fine) || 1) : 0;
    return noise.map((_, i) => coarseSize * coarse[i] + fineSize * fine[i]);
  }

  #share(): number {
    return this.#hasFine
      ? (Math.ceil(this.#height / 2) * Math.ceil(this.#width / 2)) / (this.#height * this.#width)
      : 1;
  }

  /** Every number's mean over its block. */
  #coarse(noise: Float32Array): Float32Array {
    if (!this.#hasFine) return noise;
    const [height, width] = [this.#height, this.#width];
    const coarse = new Float32Array(noise.length);
    for (let plane = 0; plane < noise.length; plane += height * width) {
      for (let y = 0; y < height; y += 2) {
        for (let x = 0; x < width; x += 2) {
          const at = plane + y * width + x;
          const right = x + 1 < width ? 1 : 0;
          const below = y + 1 < height ? width : 0;
          if (right && below) {
            const mean = (noise[at] + noise[at + 1] + noise[at + width] + noise[at + width + 1]) / 4;
            coarse[at] = coarse[at + 1] = coarse[at + width] = coarse[at + width + 1] = mean;
          } else if (right || below) {
            const other = at + (right || below);
            coarse[at] = coarse[other] = (noise[at] + noise[other]) / 2;
          } else coarse[at] = noise[at];
        }
      }
    }
    return coarse;
  }
}
