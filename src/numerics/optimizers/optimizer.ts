import type { Noise } from '../../core/noise.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';

/** A noise that an optimizer proposes; its values are always there. */
export type Proposal = Required<Noise>;

/** What an optimizer is told at its start; all of it stays the same through a run. */
export interface SearchProblem {
  /** Shape of one latent without the batch axis. */
  readonly shape: readonly number[];
  /** Seed of every draw. */
  readonly seed: number;
  /** How many full denoisings the run may spend in all. */
  readonly budget: number;
  /** Embedding of the prompt, any length; FIND's calibration network reads it. */
  readonly promptEmbedding: Float32Array;
}

/** Everything an optimizer needs to go on elsewhere, to the same bits. */
export interface OptimizerState {
  /** Small values; must survive JSON.stringify / JSON.parse unchanged. */
  readonly values: { readonly [key: string]: unknown };
  /** Large values. Arrays are copies: the optimizer does not change them afterwards. */
  readonly tensors: { readonly [key: string]: Float32Array | Float64Array };
}

/**
 * Ask / tell. Pure numbers: no I/O, no clock, no `Math.random`; a run is a function of its problem, its parameters and
 * the rewards that it was told.
 */
export interface Optimizer {
  /** How many proposals an iteration should ask for next: an integer >= 1. */
  batchSize(): number;
  /** `count` new proposals; the optimizer may expect them to be told, in this order, before the next ask. */
  ask(count: number): Proposal[];
  /** The rewards of the proposals last asked for, in their order; finite numbers, higher is better. */
  tell(rewards: readonly number[]): void;
  /** The distribution as learnt so far; callable at any time between a tell and the next ask. */
  policy(): NoiseDistribution;
  /** Figures worth keeping with the policy, such as the chosen width; must survive JSON. */
  summary(): { readonly [key: string]: unknown };
  /** A snapshot: where the latest tell left it. What was asked since and not told is not in it. */
  state(): OptimizerState;
  /** Puts a snapshot of an optimizer with the same problem and parameters back. */
  restore(state: OptimizerState): void;
}

/** A parameter that users may set, as data: the API makes its validation and documentation from it. */
export type ParameterDescription =
  | {
      readonly type: 'number' | 'integer';
      readonly default: number;
      readonly minimum: number;
      readonly maximum: number;
      readonly description: string;
    }
  | { readonly type: 'boolean'; readonly default: boolean; readonly description: string };

/** An optimizer that users can name. */
export interface OptimizerDefinition {
  /** The name that users meet, such as `elites`. */
  readonly name: string;
  /** Earlier names that requests and stored jobs may still use. */
  readonly aliases?: readonly string[];
  readonly title: string;
  /** Where it comes from. */
  readonly source: string;
  readonly parameters: { readonly [name: string]: ParameterDescription };
  /** `parameters` holds a value within its range for every described parameter. */
  create(problem: SearchProblem, parameters: { readonly [name: string]: number | boolean }): Optimizer;
}
