import { STREAMS } from '../../core/noise.ts';
import { standardNormal } from '../normal.ts';

/** Index of the noise key of the first sketch, beyond the keys of the networks' layers. */
const FIRST_KEY_INDEX = 1000;

/**
 * Count sketch (Charikar, Chen and Farach-Colton 2002): a linear map from any number of values to
 * `size` numbers. Entry j is the sum of every `size`-th value from j on, each with a fixed random
 * sign, divided by the root of the number of terms. On average the map keeps mean squares and mean
 * squared differences.
 */
export class Sketch {
  /** Length of a sketch: at most the number of values. */
  readonly size: number;
  readonly #signs: Int8Array;

  /**
   * @param inputs number of values to be sketched
   * @param size length of a sketch; fewer values keep their number and change their signs at most
   * @param seed of the signs
   * @param index distinguishes the sketches of one run
   */
  constructor(inputs: number, size: number, seed: number, index: number) {
    this.size = Math.min(inputs, size);
    this.#signs = Int8Array.from(
      standardNormal({ seed, stream: STREAMS.weights, index: FIRST_KEY_INDEX + index }, inputs),
      Math.sign,
    );
  }

  /** The sketch of `values`: `size` numbers. */
  of(values: Float32Array): Float32Array {
    const sums = new Float64Array(this.size);
    const [signs, size] = [this.#signs, this.size];
    for (let first = 0; first < values.length; first += size) {
      const end = Math.min(size, values.length - first);
      for (let j = 0; j < end; j++) sums[j] += signs[first + j] * values[first + j];
    }
    const scale = Math.sqrt(this.size / values.length);
    return Float32Array.from(sums, (sum) => sum * scale);
  }
}
