import { COMPLEX_PROMPTS, SIX_PROMPTS } from './prompts.ts';
import type { Cell } from './record.ts';

export interface Suite {
  readonly prompts: readonly string[];
  readonly optimizers: readonly string[];
  readonly seeds: readonly number[];
  readonly budgets: readonly number[];
  /** Fresh draws of each distribution. */
  readonly draws: number;
}

/** Sets of parameters are the defaults: none is tuned to a prompt or a budget. */
export const SUITES: { readonly [name: string]: Suite } = {
  quick: {
    prompts: SIX_PROMPTS,
    optimizers: ['find', 'best-of-n', 'genetic', 'elites', 'gp'],
    seeds: [1, 2, 3],
    budgets: [150],
    draws: 32,
  },
  budgets: {
    prompts: SIX_PROMPTS,
    optimizers: ['find', 'best-of-n', 'genetic', 'elites', 'gp'],
    seeds: [1],
    budgets: [50, 240, 500],
    draws: 32,
  },
  optimizers: {
    prompts: SIX_PROMPTS,
    optimizers: ['snes', 'zero-order'],
    seeds: [1],
    budgets: [150],
    draws: 32,
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
    draws: 32,
  },
  full: {
    prompts: COMPLEX_PROMPTS,
    optimizers: ['find', 'elites', 'gp'],
    seeds: [1],
    budgets: [150],
    draws: 10,
  },
};

/** In an order in which everything of one prompt follows each other. */
export function cellsOf({ prompts, optimizers, seeds, budgets }: Suite): Cell[] {
  return prompts.flatMap((prompt) =>
    seeds.flatMap((seed) =>
      budgets.flatMap((budget) => optimizers.map((optimizer): Cell => ({ prompt, optimizer, seed, budget }))),
    ),
  );
}
