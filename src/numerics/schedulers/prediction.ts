import type { ConfigReader } from './config.ts';
import type { Threshold } from './thresholding.ts';

/** What a model's output may mean where the noise is integrated; diffusers leaves the flow out. */
const NOISE_PREDICTION_TYPES = ['epsilon', 'sample', 'v_prediction'] as const;

/** The noise, x_0, the velocity alpha eps - sigma x_0, or the flow eps - x_0. */
const PREDICTION_TYPES = [...NOISE_PREDICTION_TYPES, 'flow_prediction'] as const;

/** x_t = alpha x_0 + sigma eps at a noise level. */
export interface SignalAndNoise {
  readonly alpha: number;
  readonly sigma: number;
  /** log(alpha / sigma), half the logarithm of the signal-to-noise ratio; rises as the picture appears. */
  readonly lambda: number;
}

/** At Karras' noise level sigma / alpha of a variance-preserving model, >= 0. */
export function atKarrasLevel(level: number): SignalAndNoise {
  const alpha = 1 / Math.sqrt(level * level + 1);
  return { alpha, sigma: level * alpha, lambda: -Math.log(level) };
}

/** At the noise level sigma = 1 - alpha of a straight flow, 0 to 1. */
export function atFlowLevel(level: number): SignalAndNoise {
  return { alpha: 1 - level, sigma: level, lambda: Math.log(1 - level) - Math.log(level) };
}

/** Shares of latents and model output in a sum. */
type Shares = readonly [ofLatents: number, ofOutput: number];

/** What is integrated, of model output and latents: the prediction of x_0, or that of the noise. */
export type Prediction = (
  output: Float32Array,
  latents: Float32Array,
  point: SignalAndNoise,
  level: number,
) => Float32Array<ArrayBuffer>;

/** `prediction_type`, and the prediction of x_0 that follows from it; `threshold` brings that into range. */
export function readDataPrediction(reader: ConfigReader, threshold: Threshold | null): Prediction {
  const type = reader.choice('prediction_type', 'epsilon', PREDICTION_TYPES);
  return (output, latents, point, level) => {
    const data = combine(dataShares(type, point, level), latents, output);
    threshold?.(data);
    return data;
  };
}

/** `prediction_type`, and the prediction of the noise that follows from it; `threshold` brings x_0 into range. */
export function readNoisePrediction(reader: ConfigReader, threshold: Threshold | null): Prediction {
  const type = reader.choice('prediction_type', 'epsilon', NOISE_PREDICTION_TYPES);
  return (output, latents, point, level) => {
    const noise = combine(noiseShares(type, point), latents, output);
    if (threshold === null) return noise;
    const data = combine(dataShares('epsilon', point, level), latents, noise);
    threshold(data);
    return combine(noiseShares('sample', point), latents, data);
  };
}

/** Shares in x_0. `level` is the noise level, which stands for sigma where the model predicts the flow. */
function dataShares(
  type: (typeof PREDICTION_TYPES)[number],
  { alpha, sigma }: SignalAndNoise,
  level: number,
): Shares {
  switch (type) {
    case 'epsilon':
      return [1 / alpha, -sigma / alpha];
    case 'sample':
      return [0, 1];
    case 'v_prediction':
      return [alpha, -sigma];
    case 'flow_prediction':
      return [1, -level];
  }
}

/** Shares in the noise. */
function noiseShares(
  type: (typeof NOISE_PREDICTION_TYPES)[number],
  { alpha, sigma }: SignalAndNoise,
): Shares {
  switch (type) {
    case 'epsilon':
      return [0, 1];
    case 'sample':
      return [1 / sigma, -alpha / sigma];
    case 'v_prediction':
      return [sigma, alpha];
  }
}

/** The sum, number by number. */
function combine(
  [ofLatents, ofOutput]: Shares,
  latents: Float32Array,
  output: Float32Array,
): Float32Array<ArrayBuffer> {
  return latents.map((value, i) => ofLatents * value + ofOutput * output[i]);
}
