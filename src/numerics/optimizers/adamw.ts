/** Settings of AdamW; FIND uses betas 0.9 and 0.999 and no decay. */
export interface AdamWSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay. */
  readonly decay: number;
}

export const FIND_ADAMW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0 } as const;

/** The moments of one array of parameters. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

export function createMoments(length: number): Moments {
  return { first: new Float32Array(length), second: new Float32Array(length) };
}

/**
 * One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), downhill, in place.
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
    // Most weights of a network behind ReLUs have had no gradient yet, and divisions are what this loop spends its time on.
    if (g === 0 && decay === 0 && second[i] === 0 && Object.is(first[i], 0)) continue;
    const m = Math.fround(beta1 * first[i] + (1 - beta1) * g);
    const v = Math.fround(beta2 * second[i] + (1 - beta2) * g * g);
    first[i] = m;
    second[i] = v;
    const direction = m / correction1 / (Math.sqrt(v / correction2) + epsilon);
    parameters[i] -= learningRate * (direction + decay * parameters[i]);
  }
}
