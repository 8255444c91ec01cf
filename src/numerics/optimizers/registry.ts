import { bestOfN } from './best-of-n.ts';
import { elites } from './elites.ts';
import { find } from './find.ts';
import { genetic } from './genetic.ts';
import { gp } from './gp.ts';
import { guarded } from './guard.ts';
import type { OptimizerDefinition } from './optimizer.ts';
import { snes } from './snes.ts';
import { zeroOrder } from './zero-order.ts';

/** The optimizers that users can name; the first is the default. A new one is a file beside this and a line here. */
export const OPTIMIZERS: readonly OptimizerDefinition[] = [
  gp,
  elites,
  find,
  genetic,
  snes,
  zeroOrder,
  bestOfN,
].map(guarded);

export const DEFAULT_OPTIMIZER = OPTIMIZERS[0].name;

/** The optimizer of that name or alias; undefined: there is none. */
export function lookUpOptimizer(name: string): OptimizerDefinition | undefined {
  return OPTIMIZERS.find((optimizer) => optimizer.name === name || optimizer.aliases?.includes(name));
}

/**
 * The optimizer of that name or alias.
 * @throws Error that lists the accepted names
 */
export function findOptimizer(name: string): OptimizerDefinition {
  const found = lookUpOptimizer(name);
  if (found) return found;
  const names = OPTIMIZERS.map((optimizer) => optimizer.name).join(', ');
  throw new Error(`There is no optimizer named "${name}"; the accepted names are ${names}.`);
}
