import type { JobRecord } from '../src/jobs/store.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import { findOptimizer } from '../src/numerics/optimizers/registry.ts';

/** The optimizer of a job, at its beginning. */
export function createOptimizer(
  record: JobRecord,
  generator: { readonly shape: readonly number[]; readonly promptEmbedding: Float32Array },
): Optimizer {
  const { name, ...parameters } = record.optimizer;
  return findOptimizer(name).create(
    {
      shape: generator.shape,
      seed: record.seed,
      budget: record.budget.images,
      promptEmbedding: generator.promptEmbedding,
    },
    parameters as Record<string, number | boolean>,
  );
}
