import { STREAMS } from '../../core/noise.ts';
import { standardNormal } from '../normal.ts';
import { createMoments, FIND_ADAMW, type Moments, stepAdamW } from './adamw.ts';

const HIDDEN = 64;
const LEARNING_RATE = 1e-4;

/** One layer: `weights` [outputs, inputs] row by row, then `biases` [outputs], in one array. */
interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly parameters: Float32Array;
  readonly moments: Moments;
}

/**
 * FIND's dynamic reward calibration: Phi(mu, sigma, prompt embedding) predicts the expected reward of the current distribution
 * (Chen et al. 2024, section 3.3). Inputs -> 64 -> 64 -> 64 -> 1 with ReLU, mean squared error, AdamW at 1e-4.
 *
 * The authors' has 256 wide layers and reads all 2 d + 768 numbers: 8.6 million weights at d = 16,384, whose five steps of AdamW an
 * iteration cost more than half of a denoising on a fast GPU. Ours reads a sketch of each part (`sketch.ts`): what Phi has to learn is one slowly
 * moving number.
 */
export class CalibrationNetwork {
  readonly #layers: readonly Layer[];
  #step = 0;

  /**
   * @param inputs length of [mu, sigma, embedding]
   * @param seed of the initial weights: N(0, 2 / inputs) (He et al. 2015); the last layer starts at 0, and so does Phi
   */
  constructor(inputs: number, seed: number) {
    const sizes = [inputs, HIDDEN, HIDDEN, HIDDEN, 1];
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

  /** Phi of one input. */
  predict(input: Float32Array): number {
    return this.#forward(input).at(-1)?.[0] as number;
  }

  /** `steps` steps of AdamW on (Phi(input) - reward)^2, averaged over the rewards of one distribution's draws. */
  train(input: Float32Array, rewards: readonly number[], steps: number): void {
    // All draws share the input, so the mean of their gradients is that of their mean reward.
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

  /** d (Phi(input) - target)^2 / d parameters, one array a layer. */
  gradients(input: Float32Array, target: number): Float32Array[] {
    const activations = this.#forward(input);
    const gradients: Float32Array[] = [];
    let error: Float32Array = Float32Array.of(2 * (activations[activations.length - 1][0] - target));
    for (let index = this.#layers.length - 1; index >= 0; index--) {
      const layer = this.#layers[index];
      const values = activations[index];
      const gradient = new Float32Array(layer.parameters.length);
      const before = new Float32Array(layer.inputs);
      for (let output = 0; output < layer.outputs; output++) {
        const e = error[output];
        if (e === 0) continue;
        const row = output * layer.inputs;
        for (let i = 0; i < layer.inputs; i++) {
          gradient[row + i] = e * values[i];
          before[i] += e * layer.parameters[row + i];
        }
        gradient[layer.outputs * layer.inputs + output] = e;
      }
      gradients.unshift(gradient);
      // The input of this layer is the ReLU of the one before: where it is 0, nothing passes.
      error = before.map((value, i) => (values[i] > 0 ? value : 0));
    }
    return gradients;
  }

  /** The parameters of each layer; to look at, and to change in tests. */
  parameters(): readonly Float32Array[] {
    return this.#layers.map(({ parameters }) => parameters);
  }

  state(): { step: number; tensors: { [name: string]: Float32Array } } {
    const tensors: { [name: string]: Float32Array } = {};
    for (const [index, { parameters, moments }] of this.#layers.entries()) {
      tensors[`phi.${index}.parameters`] = parameters.slice();
      tensors[`phi.${index}.first`] = moments.first.slice();
      tensors[`phi.${index}.second`] = moments.second.slice();
    }
    return { step: this.#step, tensors };
  }

  restore(step: number, tensors: { readonly [name: string]: Float32Array | Float64Array }): void {
    this.#step = step;
    for (const [index, { parameters, moments }] of this.#layers.entries()) {
      parameters.set(tensors[`phi.${index}.parameters`]);
      moments.first.set(tensors[`phi.${index}.first`]);
      moments.second.set(tensors[`phi.${index}.second`]);
    }
  }

  /** Values after each layer, the input first; ReLU on all but the last. */
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
