import type { JobRecord } from '../src/contract/records.ts';
import type { Optimizer } from '../src/numerics/optimizers/optimizer.ts';
import { findOptimizer } from '../src/numerics/optimizers/registry.ts';

/** The optimizer of a job, at its beginning. */
export function createOptimizer(
  record: JobRecord,
  evaluator: { readonly shape: readonly number[]; readonly promptEmbedding: Float32Array },
): Optimizer {
  const { name, ...parameters } = record.optimizer;
  return findOptimizer(name).create(
    {
      shape: evaluator.shape,
      seed: record.seed,
      budget: record.budget.images,
      promptEmbedding: evaluator.promptEmbedding,
    },
    parameters as Record<string, number | boolean>,
  );
}
