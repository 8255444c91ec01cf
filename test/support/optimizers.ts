import { STREAMS } from '../../src/core/noise.ts';
import type { NoiseDistribution } from '../../src/numerics/distributions/noise-distribution.ts';
import { sampleNoise } from '../../src/numerics/distributions/sample.ts';
import { dot } from '../../src/numerics/dot.ts';
import { standardNormal } from '../../src/numerics/normal.ts';
import { projectToShell } from '../../src/numerics/optimizers/elite.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  OptimizerState,
  ParameterValues,
  Proposal,
  SearchProblem,
} from '../../src/numerics/optimizers/optimizer.ts';
import { mean } from '../../src/numerics/statistics.ts';

/** The reward of a noise; `index` counts the noises of a run. */
export type Reward = (noise: Float32Array, index: number) => number;

/** The default of every parameter of an optimizer. */
export function defaultParameters(definition: OptimizerDefinition): ParameterValues {
  return Object.fromEntries(
    Object.entries(definition.parameters).map(([name, parameter]) => [name, parameter.default]),
  );
}

/**
 * An optimizer with default parameters except `parameters`, for a small problem except `problem`.
 */
export function createOptimizer(
  definition: OptimizerDefinition,
  problem: Partial<SearchProblem> & { readonly budget: number },
  parameters: ParameterValues = {},
): Optimizer {
  return definition.create(
    { shape: [2, 4, 4], seed: 3, promptEmbedding: Float32Array.of(0.5, -1, 2), ...problem },
    { ...defaultParameters(definition), ...parameters },
  );
}

/** An iteration of a search. */
export interface Iteration {
  readonly proposals: readonly Proposal[];
  readonly rewards: readonly number[];
  /** Number of noises evaluated so far, this iteration included. */
  readonly spent: number;
}

/** Runs a search until its budget is spent, from `spent` on. */
export function runSearch(
  optimizer: Optimizer,
  budget: number,
  reward: Reward,
  onIteration: (iteration: Iteration) => void = () => {},
  spent = 0,
): void {
  for (let index = spent; index < budget; ) {
    const proposals = optimizer.ask(Math.min(optimizer.batchSize(), budget - index));
    const first = index;
    const rewards = proposals.map(({ values }, i) => reward(values, first + i));
    optimizer.tell(rewards);
    index += proposals.length;
    onIteration({ proposals, rewards, spent: index });
  }
}

/**
 * A reward that is linear in the noise, with variance 1: the part that a single Gaussian can learn.
 */
export function linearReward(d: number): (noise: Float32Array) => number {
  const direction = projectToShell(standardNormal({ seed: 99, stream: STREAMS.samples, index: 0 }, d));
  return (noise) => dot(noise, direction) / Math.sqrt(d);
}

/** Cosine of two noises. */
export function cosine(a: Float32Array, b: Float32Array): number {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Mean reward of samples that no search sees. */
export function judge(distribution: NoiseDistribution, reward: (noise: Float32Array) => number): number {
  return mean(
    Array.from({ length: 400 }, (_, index) =>
      reward(sampleNoise(distribution, { seed: 3, stream: STREAMS.report, index })),
    ),
  );
}

/** A state as a checkpoint returns it: its values through JSON, its tensors copied. */
export function transportState(state: OptimizerState): OptimizerState {
  return {
    values: JSON.parse(JSON.stringify(state.values)),
    tensors: Object.fromEntries(
      Object.entries(state.tensors).map(([name, values]) => [name, values.slice()]),
    ),
  };
}
