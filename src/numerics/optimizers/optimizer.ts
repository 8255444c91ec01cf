import type { Noise } from '../../core/noise.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';

/** A noise that an optimizer proposes; `values` is always present. */
export type Proposal = Required<Noise>;

/** The constants of one search. */
export interface SearchProblem {
  /** Shape of one latent without the batch axis, such as [4, 64, 64]. */
  readonly shape: readonly number[];
  /** Seed of all noise keys of the search. */
  readonly seed: number;
  /** Number of images that the search may evaluate, an integer >= 1. */
  readonly budget: number;
  /** Embedding of the prompt, of any length; FIND's calibration network reads it. */
  readonly promptEmbedding: Float32Array;
}

/**
 * A snapshot with which an optimizer continues elsewhere to the same bits. Its keys are a stored
 * format.
 */
export interface OptimizerState {
  /** Small values, unchanged by JSON.stringify and JSON.parse. */
  readonly values: { readonly [key: string]: unknown };
  /** Large values. The arrays are copies: the optimizer does not change them afterwards. */
  readonly tensors: { readonly [key: string]: Float32Array | Float64Array };
}

/**
 * A search over initial noises with the ask / tell interface. An optimizer is pure: no I/O, no
 * clock, no `Math.random`. A run is a function of its problem, its parameters and the rewards
 * passed to `tell`.
 */
export interface Optimizer {
  /** Number of proposals to ask for in the next iteration, an integer >= 1. */
  batchSize(): number;
  /** `count` new proposals. The caller passes their rewards to `tell` before the next `ask`. */
  ask(count: number): Proposal[];
  /**
   * Learns from the rewards of the last proposals: finite numbers in their order, higher is better.
   */
  tell(rewards: readonly number[]): void;
  /** The distribution learned so far; may be called at any time between `tell` and `ask`. */
  policy(): NoiseDistribution;
  /**
   * Figures to store with the policy, such as the selected width, as JSON. The keys are a stored
   * format.
   */
  summary(): { readonly [key: string]: unknown };
  /**
   * A snapshot after the last `tell`; proposals that are still without rewards are not part of it.
   */
  state(): OptimizerState;
  /** Continues from a snapshot of an optimizer with the same problem and parameters. */
  restore(state: OptimizerState): void;
}

/** A parameter that users may set. The API derives its validation and documentation from this. */
export type ParameterDescription =
  | {
      readonly type: 'number' | 'integer';
      readonly default: number;
      /** The default on a GPU, where it differs. */
      readonly defaultOnGpu?: number;
      readonly minimum: number;
      readonly maximum: number;
      readonly description: string;
    }
  | { readonly type: 'boolean'; readonly default: boolean; readonly description: string };

/** The parameters of an optimizer by name. */
export interface ParameterDescriptions {
  readonly [name: string]: ParameterDescription;
}

/** Values of parameters by name, each within the range of its description. */
export interface ParameterValues {
  readonly [name: string]: number | boolean;
}

/** The type of the values that `Descriptions` describes. */
export type SettingsOf<Descriptions extends ParameterDescriptions> = {
  readonly [Name in keyof Descriptions]: Descriptions[Name]['type'] extends 'boolean' ? boolean : number;
};

/** An optimizer that users can name. */
export interface OptimizerDefinition {
  /** The name in requests and records, such as `elites`. */
  readonly name: string;
  /** Earlier names that requests and stored jobs may still use. */
  readonly aliases?: readonly string[];
  /** One line for people. */
  readonly title: string;
  /** The publication or project that the method comes from. */
  readonly source: string;
  readonly parameters: ParameterDescriptions;
  /**
   * A method rather than a function property, so that an optimizer may declare its own
   * `SettingsOf`.
   *
   * @param parameters a value for every described parameter
   * @throws RangeError for values that exclude each other
   */
  create(problem: SearchProblem, parameters: ParameterValues): Optimizer;
}
