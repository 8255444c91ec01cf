import { ProblemError, problemOf } from '../src/contract/problem.ts';
import type { Problem, RewardChoice, Sampler } from '../src/contract/schemas/common.ts';
import type { Evaluator } from '../src/core/evaluator.ts';
import { DeviceLostError, EngineError, OutOfMemoryError } from '../src/engine/errors.ts';
import type { BatchRun } from '../src/engine/messages.ts';
import { chooseModel, chooseTerms } from '../src/jobs/choose-bundles.ts';
import { RewardError } from '../src/rewards/scorer.ts';
import { graphRewards, withRewards } from '../src/rewards/weighted-rewards.ts';
import type { WorkerContext } from './context.ts';
import type { EngineMeter } from './engine-meter.ts';
import { withThroughput } from './throughput.ts';
import type { WorkTrace } from './work-trace.ts';

/** The settings of a job or of samples that decide how a noise is evaluated. */
export interface EvaluatorSettings {
  readonly model: string;
  readonly reward: RewardChoice | null;
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly sampler: Sampler;
}

/**
 * Opens the evaluator of a job or of samples. The engine's pipeline makes the pictures; decorators
 * add the rewards, translate errors and measure the throughput.
 * @param options `warmUp: false` skips the warm-up where no picture will be made; `count` is the
 *   number of noises that will be evaluated at a time, for which GPUs are warmed up; `observed`
 *   measures the work
 * @throws ProblemError if a model or a reward is not installed, or the engine can't open one
 */
export async function openEvaluator(
  context: WorkerContext,
  settings: EvaluatorSettings,
  {
    warmUp = true,
    count,
    observed,
  }: { readonly warmUp?: boolean; readonly count?: number; readonly observed?: ObservedWork } = {},
): Promise<Evaluator> {
  const { prompt, negativePrompt, sampler } = settings;
  const catalog = await context.catalog.now();
  const model = chooseModel(catalog, settings.model, '/model');
  const terms = settings.reward === null ? [] : chooseTerms(catalog, settings.reward, '/reward');
  const rewards = graphRewards(terms);
  let hasStarted = false;
  const onStart = (at: number) => {
    if (!hasStarted) context.logger.debug({ at }, 'first denoising step');
    hasStarted = true;
  };
  const onBatches = (batches: readonly BatchRun[]) => {
    observed?.meter.add(batches);
    observed?.trace.addBatches(batches);
  };
  const open = () =>
    translateErrors(
      context.engine.pipeline({
        model,
        rewards,
        prompt,
        negativePrompt,
        sampler,
        warmUp,
        warmUpCount: count,
        onStart,
        onBatches,
      }),
    );
  const pipeline = await (observed ? observed.trace.step('text', open) : open());
  const { throughput, metrics } = context;
  const rewarded = withRewards(pipeline, terms, prompt, process.env, (reward, score) =>
    metrics.time('reward', reward, score),
  );
  const evaluator = withThroughput(withProblems(rewarded), (images, milliseconds) => {
    throughput.add(images, milliseconds);
    metrics.addImages(model.name, images);
  });
  return observed ? withTrace(evaluator, observed.trace) : evaluator;
}

/** What is measured of work: the engine's time, and its trace. */
export interface ObservedWork {
  readonly meter: EngineMeter;
  readonly trace: WorkTrace;
}

/** Decorates an evaluator: each evaluation is a step of the trace. */
function withTrace(evaluator: Evaluator, trace: WorkTrace): Evaluator {
  return {
    shape: evaluator.shape,
    promptEmbedding: evaluator.promptEmbedding,
    evaluate: (noises, options) => trace.step('evaluate', () => evaluator.evaluate(noises, options)),
  };
}

/**
 * Decorates an evaluator: errors of the engine and of rewards that another try can't mend become
 * problems.
 */
export function withProblems(evaluator: Evaluator): Evaluator {
  return {
    shape: evaluator.shape,
    promptEmbedding: evaluator.promptEmbedding,
    evaluate: (noises, options) => translateErrors(evaluator.evaluate(noises, options)),
  };
}

/**
 * The problem of work that has failed for good. Clients may read why a reward service failed; other
 * unknown errors stay internal.
 * @param requestId of the request that created the work
 */
export function failureProblem(error: unknown, requestId: string | null): Problem {
  const reason = error instanceof RewardError ? new ProblemError('reward-failed', error.message) : error;
  return problemOf(reason, requestId ?? undefined);
}

async function translateErrors<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    // A new process may succeed; `Recycling` decides.
    if (error instanceof OutOfMemoryError || error instanceof DeviceLostError) throw error;
    if (error instanceof EngineError) throw new ProblemError('generation-failed', error.message);
    if (error instanceof RewardError && !error.isTransient)
      throw new ProblemError('reward-failed', error.message);
    throw error;
  }
}
