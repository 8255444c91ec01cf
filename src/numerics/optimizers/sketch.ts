import { STREAMS } from '../../core/noise.ts';
import { standardNormal } from '../normal.ts';

/**
 * Count sketch (Charikar, Chen and Farach-Colton 2002): `size` numbers that stand for any number of them. Entry j is the sum of every
 * size-th value from j on, each with a fixed random sign, over the root of how many there are, so mean squares, and mean squared differences,
 * are kept on average.
 */
export class Sketch {
  readonly #signs: Int8Array;
  readonly #size: number;

  /**
   * @param inputs how many numbers there are to be sketched
   * @param size how many stand for them; fewer inputs stay as they are, up to their sign
   * @param seed of the signs
   * @param index tells the sketches of one run apart
   */
  constructor(inputs: number, size: number, seed: number, index: number) {
    this.#size = Math.min(inputs, size);
    this.#signs = Int8Array.from(
      standardNormal({ seed, stream: STREAMS.weights, index: SKETCHES + index }, inputs),
      Math.sign,
    );
  }

  /** Length of a sketch. */
  get size(): number {
    return this.#size;
  }

  of(values: Float32Array): Float32Array {
    const sums = new Float64Array(this.#size);
    const [signs, size] = [this.#signs, this.#size];
    for (let first = 0; first < values.length; first += size) {
      const end = Math.min(size, values.length - first);
      for (let j = 0; j < end; j++) sums[j] += signs[first + j] * values[first + j];
    }
    const scale = Math.sqrt(this.#size / values.length);
    return Float32Array.from(sums, (sum) => sum * scale);
  }
}

/** Sketches have addresses behind those of the networks' layers. */
const SKETCHES = 1000;
