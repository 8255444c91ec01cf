/** Settings of AdamW, by the names of torch. */
export interface AdamWSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay. */
  readonly decay: number;
}

/** FIND's settings of AdamW; the learning rate differs between its policy and its network. */
export const FIND_ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0 } as const;

/** Running moments of the gradients of n parameters. */
export interface Moments {
  /** n numbers: m of the paper. */
  readonly first: Float32Array;
  /** n numbers: v of the paper. */
  readonly second: Float32Array;
}

/** The moments before the first step: zeros. */
export function createMoments(length: number): Moments {
  return { first: new Float32Array(length), second: new Float32Array(length) };
}

/**
 * One step of AdamW downhill (Loshchilov and Hutter 2019, algorithm 2). Updates `parameters` and
 * the moments in place.
 *
 * @param parameters n numbers
 * @param gradient n numbers
 * @param step 1 for the first step
 */
export function stepAdamW(
  parameters: Float32Array,
  gradient: Float32Array,
  { first, second }: Moments,
  step: number,
  settings: AdamWSettings,
): void {
  const { learningRate, beta1, beta2, epsilon, decay } = settings;
  const correction1 = 1 - beta1 ** step;
  const correction2 = 1 - beta2 ** step;
  for (let i = 0; i < parameters.length; i++) {
    const g = gradient[i];
    // Behind ReLUs most weights never had a gradient. Skipping them saves divisions, the cost of
    // this loop.
    if (g === 0 && decay === 0 && second[i] === 0 && Object.is(first[i], 0)) continue;
    const m = Math.fround(beta1 * first[i] + (1 - beta1) * g); // line 7
    const v = Math.fround(beta2 * second[i] + (1 - beta2) * g * g); // line 8
    first[i] = m;
    second[i] = v;
    const direction = m / correction1 / (Math.sqrt(v / correction2) + epsilon); // lines 9 and 10
    parameters[i] -= learningRate * (direction + decay * parameters[i]); // line 12
  }
}
