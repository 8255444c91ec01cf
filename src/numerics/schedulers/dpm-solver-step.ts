import type { SignalAndNoise } from './prediction.ts';

/** diffusers' `algorithm_type`: what is integrated, the prediction of x_0 (++) or that of the noise, and of ODE or SDE. */
export const ALGORITHMS = ['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/**
 * The latents' share in the next ones, that of the predictions (latest first) and of the noise.
 *
 * @param points where the step goes, where it starts, and where the steps before it started: one more than the order
 */
export function shareStep(
  algorithm: Algorithm,
  usesHeun: boolean,
  points: readonly SignalAndNoise[],
): { ofLatents: number; ofPredictions: readonly number[]; ofNoise: number } {
  const [target, source] = points;
  const order = points.length - 1;
  const h = target.lambda - source.lambda;
  // The last level can be the one before it: no way to go.
  if (h === 0) return { ofLatents: 1, ofPredictions: [], ofNoise: 0 };
  const { ofLatents, scale, z, ofNoise } = integrate(algorithm, source, target, h);

  // The prediction as a polynomial in lambda, term by term under the integral: constant, slope, curvature.
  const growth = Math.expm1(z);
  const constant = -scale * growth;
  if (order === 1) return { ofLatents, ofPredictions: [constant], ofNoise };
  // 2M's midpoint takes half the constant's integral for the slope's.
  const slope = order === 2 && !usesHeun ? constant / 2 : -scale * (growth / z - 1);
  const r0 = (source.lambda - points[2].lambda) / h;
  if (order === 2) return { ofLatents, ofPredictions: [constant + slope / r0, -slope / r0], ofNoise };
  // diffusers adds 1/2 where the SDE's integral, too, takes it away; pictures should be those that it makes.
  const curvature = -scale * ((growth - z) / (z * z) + (algorithm === 'sde-dpmsolver++' ? 0.5 : -0.5));
  const r1 = (points[2].lambda - points[3].lambda) / h;
  const bend = (slope * r0 + curvature) / (r0 + r1);
  const [latest, before] = [(slope + bend) / r0, -bend / r1];
  return { ofLatents, ofPredictions: [constant + latest, before - latest, -before], ofNoise };
}

/** What the algorithms differ in: the latents' and the noise's share, and scale (exp(z) - 1), the prediction's. */
function integrate(
  algorithm: Algorithm,
  source: SignalAndNoise,
  target: SignalAndNoise,
  h: number,
): { ofLatents: number; scale: number; z: number; ofNoise: number } {
  const [ofData, ofNoise] = [target.alpha / source.alpha, target.sigma / source.sigma];
  switch (algorithm) {
    case 'dpmsolver++':
      return { ofLatents: ofNoise, scale: target.alpha, z: -h, ofNoise: 0 };
    case 'sde-dpmsolver++': {
      const deviation = target.sigma * Math.sqrt(-Math.expm1(-2 * h));
      return { ofLatents: ofNoise * Math.exp(-h), scale: target.alpha, z: -2 * h, ofNoise: deviation };
    }
    case 'dpmsolver':
      return { ofLatents: ofData, scale: target.sigma, z: h, ofNoise: 0 };
    case 'sde-dpmsolver': {
      const deviation = target.sigma * Math.sqrt(Math.expm1(2 * h));
      return { ofLatents: ofData, scale: 2 * target.sigma, z: h, ofNoise: deviation };
    }
  }
}
