import { checkDistribution, dimension } from '../distributions/check.ts';
import type { NoiseDistribution } from '../distributions/noise-distribution.ts';
import type { Optimizer, OptimizerDefinition, OptimizerState, Proposal, SearchProblem } from './optimizer.ts';

/**
 * Rewards beyond this are taken as this. No reward model comes near it; it keeps means of rewards and squares of gradients finite
 * whatever a user's own scorer answers.
 */
export const MAX_ABSOLUTE_REWARD = 1e9;

/**
 * The definition with every optimizer of it guarded against bad input, so that none has to think of it:
 * - `ask` wants an integer >= 1; `tell` as many finite rewards as were asked for, else it throws a RangeError and nothing changes;
 * - a state says what it is of; `restore` throws an Error for that of another optimizer, shape, seed, budget or parameters, and for a
 *   damaged one, and leaves the optimizer as it was.
 */
export function guarded(definition: OptimizerDefinition): OptimizerDefinition {
  return {
    ...definition,
    create: (problem, parameters) => {
      if (!Number.isInteger(problem.budget) || problem.budget < 1) {
        throw new RangeError(`The budget is ${problem.budget} images; it must be an integer >= 1.`);
      }
      return new Guarded(definition, problem, parameters);
    },
  };
}

/** What a state belongs to, as one line of text. */
type Stamp = string;

class Guarded implements Optimizer {
  readonly #make: () => Optimizer;
  readonly #stamp: Stamp;
  /** Stamps under earlier names of the optimizer. */
  readonly #earlierStamps: readonly Stamp[];
  #inner: Optimizer;
  #asked = 0;

  constructor(
    definition: OptimizerDefinition,
    problem: SearchProblem,
    parameters: { readonly [name: string]: number | boolean },
  ) {
    this.#make = () => definition.create(problem, parameters);
    this.#stamp = stampOf(definition.name, problem, parameters);
    this.#earlierStamps = (definition.aliases ?? []).map((name) => stampOf(name, problem, parameters));
    this.#inner = this.#make();
  }

  batchSize(): number {
    return this.#inner.batchSize();
  }

  ask(count: number): Proposal[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`${count} proposals were asked for; it must be an integer >= 1.`);
    }
    this.#asked = count;
    return this.#inner.ask(count);
  }

  tell(rewards: readonly number[]): void {
    if (rewards.length !== this.#asked) {
      throw new RangeError(
        `${rewards.length} rewards were told for ${this.#asked} proposals; there must be one for each.`,
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
    return { values: { ...values, of: this.#stamp }, tensors };
  }

  restore(state: OptimizerState): void {
    const { of } = state.values;
    if (of !== this.#stamp && !this.#earlierStamps.some((stamp) => stamp === of)) {
      throw new Error(`The state is of ${of ?? 'an unknown optimizer'}; this optimizer is ${this.#stamp}.`);
    }
    const restored = this.#make();
    try {
      checkTensors(state.tensors);
      restored.restore(state);
      checkSame(state.tensors, restored.state().tensors);
      checkDistribution(restored.policy());
    } catch (error) {
      throw new Error(`The state of ${this.#stamp} is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
    this.#inner = restored;
    this.#asked = 0;
  }
}

type Tensors = OptimizerState['tensors'];

function checkTensors(tensors: Tensors): void {
  for (const [name, values] of Object.entries(tensors)) {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new RangeError(`${name}[${wrong}] is ${values[wrong]}.`);
  }
}

/** What was restored has to be all of what was given. */
function checkSame(given: Tensors, restored: Tensors): void {
  for (const name of new Set([...Object.keys(given), ...Object.keys(restored)])) {
    const [before, after] = [given[name]?.length, restored[name]?.length];
    if (before === undefined || before !== after)
      throw new RangeError(`${name} has ${before ?? 'no'} numbers instead of ${after ?? 'none'}.`);
  }
}

function stampOf(
  name: string,
  { shape, seed, budget }: SearchProblem,
  parameters: { readonly [name: string]: number | boolean },
): Stamp {
  dimension(shape);
  const settings = Object.entries(parameters)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key} ${value}`);
  return [name, `shape [${shape.join(', ')}]`, `seed ${seed}`, `budget ${budget}`, ...settings].join(', ');
}
