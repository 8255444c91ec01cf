import { roundHalfToEven } from '../rounding.ts';

/** The timesteps of "trailing" spacing (Lin et al. 2023, table 2): from `last` down in steps of `ratio`, less one. */
export function trailingTimesteps(last: number, ratio: number): number[] {
  // numpy.arange adds up the step that is left of the ratio after one subtraction; its rounding decides about halves.
  const stride = last - ratio - last;
  // A ratio that is not exact can leave one timestep too many at the end, below 0.
  return Array.from({ length: Math.ceil(last / ratio) }, (_, i) => roundHalfToEven(last + i * stride) - 1).filter(
    (timestep) => timestep >= 0,
  );
}

/** Timesteps without a first one at the last noise: table 2 of Lin et al. 2023 with one more than asked for, of which the lowest is left out. */
export function multistepTimesteps(
  spacing: 'linspace' | 'leading' | 'trailing',
  steps: number,
  trainTimesteps: number,
  last: number,
  offset: number,
): number[] {
  if (spacing === 'trailing') return trailingTimesteps(last, trainTimesteps / steps);
  if (spacing === 'leading') {
    const stride = Math.floor(last / (steps + 1));
    return Array.from({ length: steps }, (_, i) => (steps - i) * stride + offset);
  }
  return Array.from({ length: steps }, (_, i) => roundHalfToEven((steps - i) * ((last - 1) / steps)));
}

/** Throws unless `steps` is an integer from 1 to `trainTimesteps`. */
export function checkSteps(steps: number, trainTimesteps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > trainTimesteps) {
    throw new RangeError(
      `steps is ${steps}; it must be an integer from 1 to ${trainTimesteps}, the model's timesteps.`,
    );
  }
}

/** Throws when the first of the descending `timesteps` is later than the model was trained on. */
export function checkTimesteps(timesteps: readonly number[], trainTimesteps: number): void {
  if (timesteps[0] >= trainTimesteps) {
    throw new RangeError(
      `${timesteps.length} steps with this steps_offset start at timestep ${timesteps[0]}; the model knows 0 to ` +
        `${trainTimesteps - 1}. Ask for fewer steps, or set another timestep_spacing or a smaller steps_offset.`,
    );
  }
}

/** Throws unless `step` and the lengths of a call of `step` fit together. */
export function checkStep(
  step: number,
  timesteps: readonly number[],
  modelOutput: Float32Array,
  latents: Float32Array,
): void {
  if (!Number.isInteger(step) || step < 0 || step >= timesteps.length) {
    throw new RangeError(`step is ${step}; it must be an integer from 0 to ${timesteps.length - 1}.`);
  }
  if (modelOutput.length !== latents.length) {
    throw new RangeError(
      `The model's output has ${modelOutput.length} numbers, the latents ${latents.length}; both must be equal.`,
    );
  }
}

/** Throws unless it is `step`'s turn: a method that remembers its last steps serves one denoising run. */
export function checkOrder(step: number, next: number): void {
  if (step !== next) {
    throw new RangeError(
      `step is ${step} where ${next} was to come: this method remembers its last step, so a scheduler serves one denoising run.`,
    );
  }
}

/** Throws unless there is as much noise as latents exactly when a scheduler adds any; `why` says when it does. */
export function checkNoise(noise: Float32Array | undefined, length: number, stochastic: boolean, why: string): void {
  if (stochastic === (noise !== undefined) && (noise === undefined || noise.length === length)) return;
  throw new RangeError(
    stochastic
      ? `${why}: step needs ${length} numbers of noise, got ${noise?.length ?? 'none'}.`
      : `${why}: step takes no noise.`,
  );
}
