import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { CalibrationNetwork } from '../../src/numerics/optimizers/calibration-network.ts';
import { find } from '../../src/numerics/optimizers/find.ts';
import type { ParameterValues } from '../../src/numerics/optimizers/optimizer.ts';
import { type Rollout, surrogateGradient } from '../../src/numerics/optimizers/surrogate.ts';
import { mean } from '../../src/numerics/statistics.ts';
import { createOptimizer, defaultParameters } from '../support/optimizers.ts';

const D = 8;
const create = (parameters: ParameterValues = {}, budget = 400) =>
  createOptimizer(
    find,
    { shape: [D], seed: 11, budget, promptEmbedding: Float32Array.of(1, -1) },
    parameters,
  );
const noiseAt = (index: number) => standardNormal({ seed: 1, stream: STREAMS.samples, index }, D);
const zeros = () => new Float32Array(D);
const ones = () => new Float32Array(D).fill(1);

describe('find', () => {
  it('learns a linear reward', () => {
    const weights = noiseAt(0);
    const reward = (noise: Float32Array) => noise.reduce((sum, value, i) => sum + value * weights[i], 0);
    const optimizer = create({ batchSize: 10, learningRate: 0.02 });
    for (let spent = 0; spent < 400; spent += 10)
      optimizer.tell(optimizer.ask(10).map(({ values: noise }) => reward(noise)));
    const keys = Array.from({ length: 300 }, (_, index) => ({ seed: 1, stream: STREAMS.report, index }));
    const gain =
      mean(keys.map((key) => reward(sampleNoise(optimizer.policy(), key)))) -
      mean(keys.map((key) => reward(standardNormal(key, D))));
    expect(gain).toBeGreaterThan(0.8);
  });

  it('pairs reward i with noise i, so it learns nothing from shuffled rewards', () => {
    const weights = noiseAt(0);
    const reward = (noise: Float32Array) => noise.reduce((sum, value, i) => sum + value * weights[i], 0);
    const drift = (shift: number) => {
      const optimizer = create({ batchSize: 10, learningRate: 0.02 });
      for (let spent = 0; spent < 400; spent += 10) {
        const rewards = optimizer.ask(10).map(({ values: noise }) => reward(noise));
        optimizer.tell(rewards.map((_, i) => rewards[(i + shift) % 10]));
      }
      return reward(optimizer.policy().mean);
    };
    expect(drift(0)).toBeGreaterThan(0.8);
    expect(Math.abs(drift(3))).toBeLessThan(drift(0) / 2);
  });

  it('has the published settings as defaults', () => {
    expect(defaultParameters(find)).toMatchObject({
      batchSize: 1,
      learningRate: 1e-3,
      clip: 0.2,
      rewardWeight: 10,
      regularization: 0.01,
      calibration: true,
    });
  });
});

describe('the policy gradient', () => {
  it('is E[r* grad log pi] at the policy that the noises were sampled from (appendix A.1)', () => {
    const [noise, distribution] = [
      noiseAt(1),
      { mean: noiseAt(2), std: noiseAt(3).map((value) => 0.5 + Math.abs(value)) },
    ];
    const rollout: Rollout = { ...distribution, noises: [noise], advantages: [2] };
    const gradient = surrogateGradient([rollout], distribution.mean, distribution.std, 0.2);
    for (let i = 0; i < D; i++) {
      const z = noise[i] - distribution.mean[i];
      expect(gradient.mean[i]).toBeCloseTo(((2 / D) * z) / distribution.std[i] ** 2, 5);
      expect(gradient.std[i]).toBeCloseTo(
        ((2 / D) * (z * z - distribution.std[i] ** 2)) / distribution.std[i] ** 3,
        5,
      );
    }
    expect(gradient.clipped).toBe(0);
  });

  it('is clipped where a dimension of a good noise gained more than 20 % density: the clip can bind', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [1] };
    const moved = ones().fill(0.5); // ratio exp(1/2 - 1/8) = 1.45
    const gradient = surrogateGradient([rollout], moved, ones(), 0.2);
    expect(gradient.clipped).toBe(1);
    expect([...gradient.mean]).toEqual([...zeros()]);
    expect(surrogateGradient([rollout], moved, ones(), 1e6).clipped).toBe(0);
  });

  it('is not clipped where a good noise LOST density, so the dimension can return (PPO’s minimum)', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [1] };
    const away = ones().fill(-0.5); // ratio exp(1/2 - 9/8) = 0.54, below 1 - 0.2
    const gradient = surrogateGradient([rollout], away, ones(), 0.2);
    expect(gradient.clipped).toBe(0);
    for (const value of gradient.mean) expect(value).toBeGreaterThan(0);
  });

  it('is clipped for bad noises where they lost density, and not where they gained it', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [-1] };
    expect(surrogateGradient([rollout], ones().fill(-0.5), ones(), 0.2).clipped).toBe(1);
    const back = surrogateGradient([rollout], ones().fill(0.5), ones(), 0.2);
    expect(back.clipped).toBe(0);
    for (const value of back.mean) expect(value).toBeLessThan(0);
  });

  it('is clipped in a search that reuses its history', () => {
    const optimizer = create({ batchSize: 4, learningRate: 0.05, epochs: 5 }, 80);
    let highestShare = 0;
    for (let spent = 0; spent < 80; spent += 4) {
      optimizer.tell(optimizer.ask(4).map(({ values: noise }) => noise[0]));
      highestShare = Math.max(highestShare, optimizer.summary().clippedShare as number);
    }
    expect(highestShare).toBeGreaterThan(0.05);
  });
});

describe('the calibration network', () => {
  const input = standardNormal({ seed: 4, stream: 0, index: 0 }, 6);

  it('predicts 0 at first and learns to predict the mean reward', () => {
    const phi = new CalibrationNetwork(6, 1);
    expect(phi.predict(input)).toBe(0);
    for (let i = 0; i < 300; i++) phi.train(input, [1, 3], 5);
    expect(phi.predict(input)).toBeCloseTo(2, 1);
  });

  it('computes the gradients of the squared error, as finite differences show', () => {
    const phi = new CalibrationNetwork(6, 1);
    for (let i = 0; i < 50; i++) phi.train(input, [1], 1); // leave the zeros of the start
    const target = 0.25;
    const gradients = phi.gradients(input, target);
    for (const [layer, parameters] of phi.parameters().entries()) {
      // Only the steepest parameters: float32 rounding hides the differences of the others.
      const steepest = [...gradients[layer].keys()]
        .sort((a, b) => Math.abs(gradients[layer][b]) - Math.abs(gradients[layer][a]))
        .slice(0, 5);
      for (const i of steepest) {
        const [value, h] = [parameters[i], 1e-2];
        parameters[i] = value + h;
        const above = (phi.predict(input) - target) ** 2;
        parameters[i] = value - h;
        const below = (phi.predict(input) - target) ** 2;
        parameters[i] = value;
        expect((above - below) / (2 * h) / gradients[layer][i]).toBeCloseTo(1, 1);
      }
    }
  });

  it('reduces the movement of dimensions that the reward does not depend on', () => {
    const drift = (calibration: boolean) => {
      const optimizer = create({ batchSize: 5, learningRate: 0.01, calibration, epochs: 1 });
      for (let spent = 0; spent < 400; spent += 5)
        optimizer.tell(optimizer.ask(5).map(({ values: noise }) => 20 + noise[0]));
      const { mean: learned } = optimizer.policy();
      return learned.slice(1).reduce((sum, value) => sum + value * value, 0);
    };
    expect(drift(true)).toBeLessThan(drift(false));
  });
});
