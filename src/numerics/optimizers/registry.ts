import { bestOfN } from './best-of-n.ts';
import { elites } from './elites.ts';
import { find } from './find.ts';
import { genetic } from './genetic.ts';
import { gp } from './gp.ts';
import { guardOptimizer } from './guard.ts';
import type { OptimizerDefinition } from './optimizer.ts';
import { snes } from './snes.ts';
import { zeroOrder } from './zero-order.ts';

/**
 * The optimizers that users can name, the default first. To add one, write a file beside this one
 * and add its definition to the list.
 */
export const OPTIMIZERS: readonly OptimizerDefinition[] = [
  gp,
  elites,
  find,
  genetic,
  snes,
  zeroOrder,
  bestOfN,
].map(guardOptimizer);

/** Name of the optimizer that is used when a request names none. */
export const DEFAULT_OPTIMIZER = OPTIMIZERS[0].name;

/** The optimizer with this name or alias, or undefined. */
export function lookUpOptimizer(name: string): OptimizerDefinition | undefined {
  return OPTIMIZERS.find((optimizer) => optimizer.name === name || optimizer.aliases?.includes(name));
}

/**
 * The optimizer with this name or alias.
 * @throws Error that lists the accepted names
 */
export function findOptimizer(name: string): OptimizerDefinition {
  const found = lookUpOptimizer(name);
  if (found) return found;
  const names = OPTIMIZERS.map((optimizer) => optimizer.name).join(', ');
  throw new Error(`There is no optimizer named "${name}"; the accepted names are ${names}.`);
}
