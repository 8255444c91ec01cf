import type { ConfigReader } from './config.ts';
import type { Threshold } from './thresholding.ts';

/** x_t = alpha x_0 + sigma eps at one timestep. */
export interface SignalAndNoise {
  /** diffusers' alpha_t. */
  readonly alpha: number;
  /** diffusers' sigma_t. */
  readonly sigma: number;
}

/** A point of a solver that integrates over lambda. */
export interface SolverPoint extends SignalAndNoise {
  /**
   * log(alpha / sigma), half the logarithm of the signal-to-noise ratio; it rises during denoising.
   */
  readonly lambda: number;
}

/** The point of a timestep of a variance-preserving model with this `alphasCumprod`. */
export function atAlphaCumprod(alphaProdT: number): SignalAndNoise {
  return { alpha: Math.sqrt(alphaProdT), sigma: Math.sqrt(1 - alphaProdT) };
}

/**
 * The point of a variance-preserving model at Karras' noise level `sigma` = sigma_t / alpha_t, >=
 * 0.
 */
export function atKarrasSigma(sigma: number): SolverPoint {
  const alpha = 1 / Math.sqrt(sigma * sigma + 1);
  return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
}

/** The point of a rectified flow at the noise level `sigma` = 1 - alpha, 0 to 1. */
export function atFlowSigma(sigma: number): SolverPoint {
  return { alpha: 1 - sigma, sigma, lambda: Math.log(1 - sigma) - Math.log(sigma) };
}

/**
 * Values of `prediction_type` of variance-preserving models: eps, x_0, and v = alpha eps - sigma
 * x_0.
 */
export const PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;
/** One of `PREDICTION_TYPES`. */
export type PredictionType = (typeof PREDICTION_TYPES)[number];

/** The same and the flow eps - x_0. diffusers accepts it only where x_0 is integrated. */
const DATA_PREDICTION_TYPES = [...PREDICTION_TYPES, 'flow_prediction'] as const;

/** The coefficients a and b of a sum a * latents + b * modelOutput. */
export type Coefficients = readonly [ofLatents: number, ofOutput: number];

/** The coefficients of x_0, diffusers' `pred_original_sample`. */
export function originalSampleCoefficients(
  type: PredictionType,
  { alpha, sigma }: SignalAndNoise,
): Coefficients {
  switch (type) {
    case 'epsilon':
      return [1 / alpha, -sigma / alpha];
    case 'sample':
      return [0, 1];
    case 'v_prediction':
      return [alpha, -sigma];
  }
}

/** The coefficients of eps, diffusers' `pred_epsilon`. */
export function epsilonCoefficients(type: PredictionType, { alpha, sigma }: SignalAndNoise): Coefficients {
  switch (type) {
    case 'epsilon':
      return [0, 1];
    case 'sample':
      return [1 / sigma, -alpha / sigma];
    case 'v_prediction':
      return [sigma, alpha];
  }
}

/**
 * a * latents + b * modelOutput.
 * @param into array for the result; it may be an argument
 * @returns `into`
 */
export function combine<T extends Float32Array>(
  [ofLatents, ofOutput]: Coefficients,
  latents: Float32Array,
  modelOutput: Float32Array,
  into: T,
): T {
  // A plain loop: three times as fast as `map`.
  for (let i = 0; i < into.length; i++) into[i] = ofLatents * latents[i] + ofOutput * modelOutput[i];
  return into;
}

/**
 * Converts a model's output to the prediction that a solver integrates, diffusers'
 * `convert_model_output`.
 *
 * @param point of the timestep
 * @param sigma noise level of the timestep, which the flow prediction is scaled with
 * @param into array for the result, none of the arguments
 */
export type ConvertModelOutput = (
  modelOutput: Float32Array,
  latents: Float32Array,
  point: SignalAndNoise,
  sigma: number,
  into: Float32Array<ArrayBuffer>,
) => void;

/**
 * Reads `prediction_type` for a solver that integrates x_0.
 * @param threshold brings x_0 into range; null for none
 */
export function readDataPrediction(config: ConfigReader, threshold: Threshold | null): ConvertModelOutput {
  const type = config.choice('prediction_type', 'epsilon', DATA_PREDICTION_TYPES);
  return (modelOutput, latents, point, sigma, into) => {
    const coefficients: Coefficients =
      type === 'flow_prediction' ? [1, -sigma] : originalSampleCoefficients(type, point);
    combine(coefficients, latents, modelOutput, into);
    threshold?.(into);
  };
}

/**
 * Reads `prediction_type` for a solver that integrates eps.
 * @param threshold brings the x_0 that follows from eps into range; null for none
 */
export function readNoisePrediction(config: ConfigReader, threshold: Threshold | null): ConvertModelOutput {
  const type = config.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  return (modelOutput, latents, point, _sigma, into) => {
    combine(epsilonCoefficients(type, point), latents, modelOutput, into);
    if (threshold === null) return;
    combine(originalSampleCoefficients('epsilon', point), latents, into, into);
    threshold(into);
    combine(epsilonCoefficients('sample', point), latents, into, into);
  };
}
