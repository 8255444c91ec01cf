/**
 * Checks the number of inference steps.
 * @throws RangeError unless `steps` is an integer from 1 to `numTrainTimesteps`
 */
export function checkSteps(steps: number, numTrainTimesteps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > numTrainTimesteps) {
    throw new RangeError(
      `steps is ${steps}; it must be an integer from 1 to ${numTrainTimesteps}, ` +
        "the number of the model's timesteps.",
    );
  }
}

/**
 * Checks eta, the share of new noise in a step.
 * @throws RangeError unless `eta` is in [0, 1]
 */
export function checkEta(eta: number): void {
  if (!(eta >= 0 && eta <= 1))
    throw new RangeError(`eta is ${eta}; it must be from 0 (deterministic) to 1 (fully stochastic).`);
}

/**
 * Checks that the model was trained on the first of the descending `timesteps`.
 * @throws RangeError for a timestep of `numTrainTimesteps` or more
 */
export function checkTimesteps(timesteps: readonly number[], numTrainTimesteps: number): void {
  if (timesteps[0] >= numTrainTimesteps) {
    throw new RangeError(
      `${timesteps.length} steps with this steps_offset start at timestep ${timesteps[0]}; the model knows ` +
        `0 to ${numTrainTimesteps - 1}. Request fewer steps, or set another timestep_spacing or a smaller ` +
        'steps_offset.',
    );
  }
}

/**
 * Checks the arguments of `Scheduler.step`.
 * @throws RangeError for a step out of range, or arrays of different lengths
 */
export function checkStep(
  step: number,
  timesteps: readonly number[],
  modelOutput: Float32Array,
  latents: Float32Array,
  into: Float32Array,
): void {
  if (!Number.isInteger(step) || step < 0 || step >= timesteps.length) {
    throw new RangeError(`step is ${step}; it must be an integer from 0 to ${timesteps.length - 1}.`);
  }
  if (modelOutput.length !== latents.length) {
    throw new RangeError(
      `The model's output has ${modelOutput.length} numbers and the latents have ${latents.length}; ` +
        'both must have the same length.',
    );
  }
  if (into.length !== latents.length || into === latents || into === modelOutput) {
    throw new RangeError(
      `The array for the result must be one of its own, of ${latents.length} numbers; it has ${into.length}.`,
    );
  }
}

/**
 * Checks the order of the steps of a multistep method, which stores outputs of earlier steps.
 * @throws RangeError unless `step` is `expected`
 */
export function checkNextStep(step: number, expected: number): void {
  if (step === expected) return;
  throw new RangeError(
    `step is ${step}, but the next step is ${expected}: this method stores outputs of earlier steps, ` +
      'so a scheduler serves one denoising run.',
  );
}

/**
 * Checks the noise of a stochastic step.
 * @param reason why the step needs noise, such as "eta is 1"
 * @throws RangeError unless `noise` is as long as the latents
 */
export function checkNoise(
  noise: Float32Array | undefined,
  latents: Float32Array,
  reason: string,
): asserts noise is Float32Array {
  if (noise?.length === latents.length) return;
  throw new RangeError(
    `${reason}: step needs ${latents.length} numbers of noise, but got ${noise?.length ?? 'none'}.`,
  );
}

/**
 * Rejects noise for a deterministic step: the caller believes that it has an effect.
 * @param reason why the step takes none, such as "eta is 0"
 * @throws RangeError if there is noise
 */
export function rejectNoise(noise: Float32Array | undefined, reason: string): void {
  if (noise !== undefined) throw new RangeError(`${reason}: step takes no noise.`);
}
