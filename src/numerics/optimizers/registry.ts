import { bestOfN } from './best-of-n.ts';
import { elites } from './elites.ts';
import { find } from './find.ts';
import { genetic } from './genetic.ts';
import { guarded } from './guard.ts';
import { kriging } from './kriging.ts';
import type { OptimizerDefinition } from './optimizer.ts';
import { snes } from './snes.ts';
import { zeroOrder } from './zero-order.ts';

/** The optimizers that users can name; the first is the default. A new one is a file beside this and a line here. */
export const OPTIMIZERS: readonly OptimizerDefinition[] = [
  kriging,
  elites,
  find,
  genetic,
  snes,
  zeroOrder,
  bestOfN,
].map(guarded);

export const DEFAULT_OPTIMIZER = OPTIMIZERS[0].name;

/** The optimizer of that name. Throws an Error that lists the accepted names. */
export function findOptimizer(name: string): OptimizerDefinition {
  const found = OPTIMIZERS.find((optimizer) => optimizer.name === name);
  if (found) return found;
  throw new Error(
    `There is no optimizer named "${name}"; the accepted names are ${OPTIMIZERS.map((optimizer) => optimizer.name).join(', ')}.`,
  );
}
