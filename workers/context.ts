import type { Logger } from 'pino';
import type { LiveCatalog } from '../src/bundles/catalog.ts';
import { ProblemError } from '../src/contract/problem.ts';
import type { RewardChoice, Sampler } from '../src/contract/schemas/common.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import type { Engine } from '../src/engine/engine.ts';
import { EngineError, OutOfMemoryError } from '../src/engine/graphs/engine-error.ts';
import { chooseModel, chooseTerms } from '../src/jobs/resolve-bundles.ts';
import type { ChangeFeed } from '../src/redis/change-feed.ts';
import { RewardError } from '../src/rewards/scorer.ts';
import { graphRewards, weighRewards } from '../src/rewards/weigh.ts';
import type { BlobStore } from '../src/storage/blobs.ts';
import type { Store } from '../src/store/store.ts';
import type { Recycling } from './recycling.ts';
import type { Throughput } from './throughput.ts';

/** What the processors of one worker share. */
export interface WorkerContext {
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly catalog: Pick<LiveCatalog, 'now'>;
  readonly engine: Engine;
  readonly cancels: ChangeFeed;
  readonly throughput: Throughput;
  readonly recycling: Recycling;
  readonly logger: Logger;
  /** Aborted when the worker is to give its work back and end. */
  readonly shutdown: AbortSignal;
}

/** The local engine as a generator for what a job or a sample asks for; `warmUp: false` where no pictures are to be made. */
export async function openEvaluator(
  context: WorkerContext,
  request: {
    readonly model: string;
    readonly reward: RewardChoice | null;
    readonly prompt: string;
    readonly negativePrompt: string;
    readonly sampler: Sampler;
  },
  { warmUp = true }: { readonly warmUp?: boolean } = {},
): Promise<Evaluator> {
  const catalog = await context.catalog.now();
  const model = chooseModel(catalog, request.model, '/model');
  const terms = request.reward === null ? [] : chooseTerms(catalog, request.reward, '/reward');
  const { prompt, negativePrompt, sampler } = request;
  let started = false;
  const onStart = (at: number) => {
    if (!started) context.logger.debug({ at }, 'first denoising step');
    started = true;
  };
  const rewards = graphRewards(terms);
  const pipeline = await toProblem(
    context.engine.pipeline({ model, rewards, prompt, negativePrompt, sampler, warmUp, onStart }),
  );
  const evaluator = weighRewards(pipeline, terms, prompt);
  return {
    shape: evaluator.shape,
    promptEmbedding: evaluator.promptEmbedding,
    async evaluate(draws, options) {
      const began = performance.now();
      const evaluations = await toProblem(evaluator.evaluate(draws, options));
      context.throughput.add(draws.length, performance.now() - began);
      return evaluations;
    },
  };
}

/** What engine and rewards say of a model or a reward is for the client, unless trying again may mend it. */
async function toProblem<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    // Whether another process may have the memory is for whoever runs the work to say.
    if (error instanceof OutOfMemoryError) throw error;
    if (error instanceof EngineError) throw new ProblemError('generation-failed', error.message);
    if (error instanceof RewardError && !error.isTransient)
      throw new ProblemError('reward-failed', error.message);
    throw error;
  }
}
