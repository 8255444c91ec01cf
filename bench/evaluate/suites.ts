import { type Noise, STREAMS } from '../../src/core/noise.ts';
import complex from './complex-prompts.json' with { type: 'json' };
import type { Cell } from './records.ts';

/**
 * One prompt for each kind of thing that the embedded model misses: a rare colour, a count, two
 * colours, a pair, two relations.
 */
const SIX_PROMPTS: readonly string[] = complex.six;

/**
 * Prompts with new combinations of things, of which the base obeys 20 to 80 %
 * (`choose-prompts.ts`).
 */
const COMPLEX_PROMPTS: readonly string[] = complex.prompts.map(({ prompt }) => prompt);

/** A set of runs: every combination of prompt, optimizer, seed and budget. */
export interface Suite {
  readonly prompts: readonly string[];
  /** name, or name:parameter=value:parameter=value */
  readonly optimizers: readonly string[];
  readonly seeds: readonly number[];
  /** Full denoisings of a search. */
  readonly budgets: readonly number[];
  /** Held-out samples of each distribution. */
  readonly samples: number;
}

/**
 * The suites by name. Optimizers have their default parameters; none is tuned to a prompt or a
 * budget.
 */
export const SUITES: { readonly [name: string]: Suite } = {
  quick: {
    prompts: SIX_PROMPTS,
    optimizers: ['find', 'best-of-n', 'genetic', 'elites', 'gp'],
    seeds: [1, 2, 3],
    budgets: [150],
    samples: 32,
  },
  budgets: {
    prompts: SIX_PROMPTS,
    optimizers: ['find', 'best-of-n', 'genetic', 'elites', 'gp'],
    seeds: [1],
    budgets: [50, 240, 500],
    samples: 32,
  },
  optimizers: {
    prompts: SIX_PROMPTS,
    optimizers: ['snes', 'zero-order'],
    seeds: [1],
    budgets: [150],
    samples: 32,
  },
  ablation: {
    prompts: SIX_PROMPTS,
    optimizers: [
      'find',
      'find:calibration=false',
      'find:clip=1000000',
      'find:calibration=false:clip=1000000',
    ],
    seeds: [1],
    budgets: [150],
    samples: 32,
  },
  full: {
    prompts: COMPLEX_PROMPTS,
    optimizers: ['find', 'elites', 'gp'],
    seeds: [1],
    budgets: [150],
    samples: 10,
  },
};

/**
 * The cells of a suite. Those of one prompt are adjacent, because they share embeddings and base
 * pictures.
 */
export function cellsOf({ prompts, optimizers, seeds, budgets }: Suite): Cell[] {
  return prompts.flatMap((prompt) =>
    seeds.flatMap((seed) =>
      budgets.flatMap((budget) => optimizers.map((optimizer): Cell => ({ prompt, optimizer, seed, budget }))),
    ),
  );
}

/**
 * The noises on which a distribution is judged. They come from a stream that no search uses.
 * @param seed seed of the run
 * @param count number of noises
 */
export const heldOutNoises = (seed: number, count: number): Noise[] =>
  Array.from({ length: count }, (_, index) => ({ key: { seed, stream: STREAMS.report, index } }));
