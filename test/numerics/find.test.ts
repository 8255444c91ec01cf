import { describe, expect, it } from 'vitest';
import { STREAMS } from '../../src/core/noise.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { CalibrationNetwork } from '../../src/numerics/optimizers/calibration-network.ts';
import { find } from '../../src/numerics/optimizers/find.ts';
import { type Rollout, surrogateGradient } from '../../src/numerics/optimizers/surrogate.ts';
import { mean } from '../../src/numerics/statistics.ts';

const D = 8;
const create = (parameters: { [name: string]: number | boolean } = {}, budget = 400) => {
  const defaults = Object.fromEntries(
    Object.entries(find.parameters).map(([name, parameter]) => [name, parameter.default]),
  );
  return find.create(
    { shape: [D], seed: 11, budget, promptEmbedding: Float32Array.of(1, -1) },
    { ...defaults, ...parameters },
  );
};
const noiseAt = (index: number) => standardNormal({ seed: 1, stream: STREAMS.samples, index }, D);
const zeros = () => new Float32Array(D);
const ones = () => new Float32Array(D).fill(1);

describe('find learns', () => {
  it('a linear reward, from reward i at noise i', () => {
    const weights = noiseAt(0);
    const reward = (noise: Float32Array) => noise.reduce((sum, value, i) => sum + value * weights[i], 0);
    const optimizer = create({ batchSize: 10, learningRate: 0.02 });
    for (let spent = 0; spent < 400; spent += 10)
      optimizer.tell(optimizer.ask(10).map(({ values: noise }) => reward(noise)));
    const fresh = Array.from({ length: 300 }, (_, index) => ({ seed: 1, stream: STREAMS.report, index }));
    const gain =
      mean(fresh.map((key) => reward(sampleNoise(optimizer.policy(), key)))) -
      mean(fresh.map((key) => reward(standardNormal(key, D))));
    expect(gain).toBeGreaterThan(0.8);
  });

  it('nothing when rewards are handed to the wrong noises (the fault of the authors’ code)', () => {
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

  it('by default with the published settings', () => {
    const defaults = Object.fromEntries(
      Object.entries(find.parameters).map(([name, parameter]) => [name, parameter.default]),
    );
    expect(defaults).toMatchObject({
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
  it('is E[r* grad log pi] at the distribution that the noises came from (appendix A.1)', () => {
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

  it('is clipped where a good noise’s dimension has gained more than 20 %: the clip can bind', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [1] };
    const moved = ones().fill(0.5); // ratio exp(1/2 - 1/8) = 1.45
    const gradient = surrogateGradient([rollout], moved, ones(), 0.2);
    expect(gradient.clipped).toBe(1);
    expect([...gradient.mean]).toEqual([...zeros()]);
    expect(surrogateGradient([rollout], moved, ones(), 1e6).clipped).toBe(0);
  });

  it('stays where a good noise has LOST density, however much: the way back is open (PPO’s minimum)', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [1] };
    const away = ones().fill(-0.5); // ratio exp(1/2 - 9/8) = 0.54, below 1 - 0.2
    const gradient = surrogateGradient([rollout], away, ones(), 0.2);
    expect(gradient.clipped).toBe(0);
    for (const value of gradient.mean) expect(value).toBeGreaterThan(0);
  });

  it('and the same for bad noises, the other way round', () => {
    const rollout: Rollout = { mean: zeros(), std: ones(), noises: [ones()], advantages: [-1] };
    expect(surrogateGradient([rollout], ones().fill(-0.5), ones(), 0.2).clipped).toBe(1);
    const back = surrogateGradient([rollout], ones().fill(0.5), ones(), 0.2);
    expect(back.clipped).toBe(0);
    for (const value of back.mean) expect(value).toBeLessThan(0);
  });

  it('clips in a real run that uses its history again', () => {
    const optimizer = create({ batchSize: 4, learningRate: 0.05, epochs: 5 }, 80);
    let most = 0;
    for (let spent = 0; spent < 80; spent += 4) {
      optimizer.tell(optimizer.ask(4).map(({ values: noise }) => noise[0]));
      most = Math.max(most, optimizer.summary().clippedShare as number);
    }
    expect(most).toBeGreaterThan(0.05);
  });
});

describe('the calibration network', () => {
  const input = standardNormal({ seed: 4, stream: 0, index: 0 }, 6);

  it('starts at 0 and learns to predict the mean reward of a distribution', () => {
    const phi = new CalibrationNetwork(6, 1);
    expect(phi.predict(input)).toBe(0);
    for (let i = 0; i < 300; i++) phi.train(input, [1, 3], 5);
    expect(phi.predict(input)).toBeCloseTo(2, 1);
  });

  it('has the gradients of the squared error (finite differences)', () => {
    const phi = new CalibrationNetwork(6, 1);
    for (let i = 0; i < 50; i++) phi.train(input, [1], 1); // away from the zeros of the start
    const target = 0.25;
    const gradients = phi.gradients(input, target);
    for (const [layer, parameters] of phi.parameters().entries()) {
      // The steepest parameters: float32 differences of the others drown in rounding.
      const steepest = [...gradients[layer].keys()]
        .sort((a, b) => Math.abs(gradients[layer][b]) - Math.abs(gradients[layer][a]))
        .slice(0, 5);
      for (const i of steepest) {
        const [kept, h] = [parameters[i], 1e-2];
        parameters[i] = kept + h;
        const above = (phi.predict(input) - target) ** 2;
        parameters[i] = kept - h;
        const below = (phi.predict(input) - target) ** 2;
        parameters[i] = kept;
        expect((above - below) / (2 * h) / gradients[layer][i]).toBeCloseTo(1, 1);
      }
    }
  });

  it('lowers the variance of what the policy is trained on', () => {
    const offset = (calibration: boolean) => {
      const optimizer = create({ batchSize: 5, learningRate: 0.01, calibration, epochs: 1 });
      for (let spent = 0; spent < 400; spent += 5)
        optimizer.tell(optimizer.ask(5).map(({ values: noise }) => 20 + noise[0]));
      const { mean: learned } = optimizer.policy();
      // What moved that the reward does not depend on.
      return learned.slice(1).reduce((sum, value) => sum + value * value, 0);
    };
    expect(offset(true)).toBeLessThan(offset(false));
  });
});
