import { MAX_ABSOLUTE_REWARD } from '../../core/evaluator.ts';
import { checkDistribution, dimension, type NoiseDistribution } from '../distributions/noise-distribution.ts';
import type {
  Optimizer,
  OptimizerDefinition,
  OptimizerState,
  ParameterValues,
  Proposal,
  SearchProblem,
} from './optimizer.ts';

/**
 * Decorates a definition so that its optimizers reject bad input before they see it:
 *
 * - `ask` takes an integer >= 1; `tell` takes one finite reward per proposal. Anything else throws
 *   a RangeError and changes nothing.
 * - Rewards beyond `MAX_ABSOLUTE_REWARD` are clamped to it. Scores have the same bound, but a
 *   weighted sum of scores can exceed it.
 * - A state names the optimizer, shape, seed, budget and parameters that it belongs to. `restore`
 *   throws an Error for a state of others and for a damaged one, and leaves the optimizer
 *   unchanged.
 */
export function guardOptimizer(definition: OptimizerDefinition): OptimizerDefinition {
  return {
    ...definition,
    create: (problem, parameters) => {
      if (!Number.isInteger(problem.budget) || problem.budget < 1) {
        throw new RangeError(`The budget is ${problem.budget} images; it must be an integer >= 1.`);
      }
      return new GuardedOptimizer(definition, problem, parameters);
    },
  };
}

/**
 * What a state belongs to, as one line of text. It is part of checkpoints, so its format must not
 * change.
 */
type StateOwner = string;

class GuardedOptimizer implements Optimizer {
  readonly #create: () => Optimizer;
  readonly #owner: StateOwner;
  /** The same owner under earlier names of the optimizer. */
  readonly #aliases: readonly StateOwner[];
  #inner: Optimizer;
  /** Number of proposals without rewards. */
  #asked = 0;

  constructor(definition: OptimizerDefinition, problem: SearchProblem, parameters: ParameterValues) {
    this.#create = () => definition.create(problem, parameters);
    this.#owner = describeOwner(definition.name, problem, parameters);
    this.#aliases = (definition.aliases ?? []).map((name) => describeOwner(name, problem, parameters));
    this.#inner = this.#create();
  }

  batchSize(): number {
    return this.#inner.batchSize();
  }

  ask(count: number): Proposal[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`ask got ${count} as the number of proposals; it must be an integer >= 1.`);
    }
    this.#asked = count;
    return this.#inner.ask(count);
  }

  tell(rewards: readonly number[]): void {
    if (rewards.length !== this.#asked) {
      throw new RangeError(
        `tell got ${rewards.length} rewards for ${this.#asked} proposals; pass one reward per proposal.`,
      );
    }
    const wrong = rewards.findIndex((reward) => !Number.isFinite(reward));
    if (wrong >= 0)
      throw new RangeError(`Reward ${wrong} is ${rewards[wrong]}; rewards must be finite numbers.`);
    this.#inner.tell(
      rewards.map((reward) => Math.max(-MAX_ABSOLUTE_REWARD, Math.min(MAX_ABSOLUTE_REWARD, reward))),
    );
    this.#asked = 0;
  }

  policy(): NoiseDistribution {
    return this.#inner.policy();
  }

  summary(): { readonly [key: string]: unknown } {
    return this.#inner.summary();
  }

  state(): OptimizerState {
    const { values, tensors } = this.#inner.state();
    return { values: { ...values, of: this.#owner }, tensors };
  }

  restore(state: OptimizerState): void {
    const { of } = state.values;
    if (of !== this.#owner && !this.#aliases.some((alias) => alias === of)) {
      throw new Error(
        `The state belongs to ${of ?? 'an unknown optimizer'}, but this optimizer is ${this.#owner}.`,
      );
    }
    const restored = this.#create();
    try {
      checkFinite(state.tensors);
      restored.restore(state);
      checkLengths(state.tensors, restored.state().tensors);
      checkDistribution(restored.policy());
    } catch (error) {
      throw new Error(`The state of ${this.#owner} is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
    this.#inner = restored;
    this.#asked = 0;
  }
}

type Tensors = OptimizerState['tensors'];

function checkFinite(tensors: Tensors): void {
  for (const [name, values] of Object.entries(tensors)) {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new RangeError(`${name}[${wrong}] is ${values[wrong]}.`);
  }
}

/** The restored optimizer must have every tensor that the state has, and no others. */
function checkLengths(given: Tensors, restored: Tensors): void {
  for (const name of new Set([...Object.keys(given), ...Object.keys(restored)])) {
    const [before, after] = [given[name]?.length, restored[name]?.length];
    if (before === undefined || before !== after)
      throw new RangeError(`${name} has ${before ?? 'no'} numbers instead of ${after ?? 'none'}.`);
  }
}

function describeOwner(
  name: string,
  { shape, seed, budget }: SearchProblem,
  parameters: ParameterValues,
): StateOwner {
  // Reject an invalid shape when the optimizer is created.
  dimension(shape);
  const settings = Object.entries(parameters)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key} ${value}`);
  return [name, `shape [${shape.join(', ')}]`, `seed ${seed}`, `budget ${budget}`, ...settings].join(', ');
}
