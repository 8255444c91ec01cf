import { roundHalfToEven } from '../rounding.ts';

/** numpy.linspace, to the last bit: halves that are to be rounded depend on the order of its operations. */
export function linearSpace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i > 0 && i === count - 1 ? stop : i === 0 ? start : i * step + start,
  );
}

/** The timesteps of "trailing" spacing (Lin et al. 2023, table 2): from `last` down in steps of `ratio`, less one. */
export function trailingTimesteps(last: number, ratio: number): number[] {
  // numpy.arange's own way to count, which decides where a half falls.
  const step = last - ratio - last;
  // A ratio that is not exact can leave one timestep too many at the end, below 0; diffusers asks the model there.
  return Array.from(
    { length: Math.ceil(last / ratio) },
    (_, i) => roundHalfToEven(last + i * step) - 1,
  ).filter((timestep) => timestep >= 0);
}

/**
 * The timesteps of consistency models (LCM, TCD): `steps` of the `originalSteps` that the model was distilled with,
 * latest first, evenly by their number. Throws a RangeError unless `steps` is an integer from 1 to `originalSteps`.
 */
export function distilledTimesteps(steps: number, originalSteps: number, trainTimesteps: number): number[] {
  if (!Number.isInteger(steps) || steps < 1 || steps > originalSteps) {
    throw new RangeError(
      `steps is ${steps}; it must be an integer from 1 to ${originalSteps}, the steps that the model was distilled ` +
        'with (original_inference_steps).',
    );
  }
  const skip = Math.floor(trainTimesteps / originalSteps);
  const share = originalSteps / steps;
  return Array.from({ length: steps }, (_, i) => (originalSteps - Math.floor(i * share)) * skip - 1);
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

/** Throws unless `step` is the one that a method with a memory waits for. */
export function checkNextStep(step: number, expected: number): void {
  if (step === expected) return;
  throw new RangeError(
    `step is ${step} where ${expected} was to come: this method remembers its last step, so a scheduler serves one denoising run.`,
  );
}
