import { STREAMS } from '../../core/noise.ts';
import { standardNormal } from '../normal.ts';
import { createMoments, FIND_ADAMW, type Moments, stepAdamW } from './adamw.ts';

const HIDDEN_UNITS = 64;
const LEARNING_RATE = 1e-4;

interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** Weights [outputs, inputs], row by row, followed by biases [outputs]. */
  readonly parameters: Float32Array;
  readonly moments: Moments;
}

/**
 * FIND's dynamic reward calibration (Chen et al. 2024, section 3.3): Phi(mu, sigma, prompt
 * embedding) predicts the expected reward of the current distribution. The network has layers
 * inputs -> 64 -> 64 -> 64 -> 1 with ReLU; AdamW with learning rate 1e-4 minimizes the squared
 * error.
 *
 * The network of FIND's authors has 256 units a layer and reads all 2 d + 768 numbers: 8.6 million
 * weights at d = 16,384. Its five steps of AdamW an iteration cost more than half of a denoising on
 * a fast GPU. This one reads a sketch of each part (`sketch.ts`), because Phi only has to learn one
 * number that moves slowly.
 */
export class CalibrationNetwork {
  readonly #layers: readonly Layer[];
  #step = 0;

  /**
   * @param inputs length of the input
   * @param seed of the initial weights, N(0, 2 / inputs) (He et al. 2015); the last layer starts at
   *   0, so Phi does too
   */
  constructor(inputs: number, seed: number) {
    const sizes = [inputs, HIDDEN_UNITS, HIDDEN_UNITS, HIDDEN_UNITS, 1];
    this.#layers = sizes.slice(1).map((outputs, index) => {
      const fanIn = sizes[index];
      const parameters = new Float32Array(outputs * fanIn + outputs);
      if (outputs > 1) {
        const deviation = Math.sqrt(2 / fanIn);
        const normals = standardNormal({ seed, stream: STREAMS.weights, index }, outputs * fanIn);
        for (let i = 0; i < normals.length; i++) parameters[i] = deviation * normals[i];
      }
      return { inputs: fanIn, outputs, parameters, moments: createMoments(parameters.length) };
    });
  }

  /** Phi(input): the expected reward. */
  predict(input: Float32Array): number {
    return this.#forward(input)[this.#layers.length][0];
  }

  /**
   * Takes `steps` steps of AdamW on the mean of (Phi(input) - reward)^2.
   *
   * @param input the distribution that all rewards belong to
   * @param rewards one or more
   */
  train(input: Float32Array, rewards: readonly number[], steps: number): void {
    // All rewards share the input, so the mean of their gradients is the gradient at their mean.
    const target = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
    for (let i = 0; i < steps; i++) {
      this.#step++;
      const gradients = this.gradients(input, target);
      for (const [index, { parameters, moments }] of this.#layers.entries()) {
        stepAdamW(parameters, gradients[index], moments, this.#step, {
          ...FIND_ADAMW,
          learningRate: LEARNING_RATE,
        });
      }
    }
  }

  /** d (Phi(input) - target)^2 / d parameters, one array per layer. */
  gradients(input: Float32Array, target: number): Float32Array[] {
    const activations = this.#forward(input);
    const gradients: Float32Array[] = [];
    let error: Float32Array = Float32Array.of(2 * (activations[activations.length - 1][0] - target));
    for (let index = this.#layers.length - 1; index >= 0; index--) {
      const layer = this.#layers[index];
      const values = activations[index];
      const gradient = new Float32Array(layer.parameters.length);
      const inputError = new Float32Array(layer.inputs);
      for (let output = 0; output < layer.outputs; output++) {
        const e = error[output];
        if (e === 0) continue;
        const row = output * layer.inputs;
        for (let i = 0; i < layer.inputs; i++) {
          gradient[row + i] = e * values[i];
          inputError[i] += e * layer.parameters[row + i];
        }
        gradient[layer.outputs * layer.inputs + output] = e;
      }
      gradients.unshift(gradient);
      // The input of this layer is a ReLU's output, whose derivative is 0 wherever the output is.
      error = inputError.map((value, i) => (values[i] > 0 ? value : 0));
    }
    return gradients;
  }

  /** The parameters of each layer, not copied: tests change them. */
  parameters(): readonly Float32Array[] {
    return this.#layers.map(({ parameters }) => parameters);
  }

  /** Copies of the parameters and of AdamW's moments, with the number of steps taken. */
  state(): { step: number; tensors: { [name: string]: Float32Array } } {
    const tensors: { [name: string]: Float32Array } = {};
    for (const [index, { parameters, moments }] of this.#layers.entries()) {
      tensors[`phi.${index}.parameters`] = parameters.slice();
      tensors[`phi.${index}.first`] = moments.first.slice();
      tensors[`phi.${index}.second`] = moments.second.slice();
    }
    return { step: this.#step, tensors };
  }

  /** Continues from `state()`; tensors with other names are ignored. */
  restore(step: number, tensors: { readonly [name: string]: Float32Array | Float64Array }): void {
    this.#step = step;
    for (const [index, { parameters, moments }] of this.#layers.entries()) {
      parameters.set(tensors[`phi.${index}.parameters`]);
      moments.first.set(tensors[`phi.${index}.first`]);
      moments.second.set(tensors[`phi.${index}.second`]);
    }
  }

  /** The input, followed by the output of each layer. */
  #forward(input: Float32Array): Float32Array[] {
    const activations = [input];
    for (const [index, { inputs, outputs, parameters }] of this.#layers.entries()) {
      const isLast = index === this.#layers.length - 1;
      const values = activations[index];
      const result = new Float32Array(outputs);
      for (let output = 0; output < outputs; output++) {
        let sum = parameters[outputs * inputs + output];
        const row = output * inputs;
        for (let i = 0; i < inputs; i++) sum += parameters[row + i] * values[i];
        result[output] = isLast ? sum : Math.max(0, sum);
      }
      activations.push(result);
    }
    return activations;
  }
}
