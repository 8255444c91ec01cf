import { abortedWith } from '../../src/abort.ts';
import type { Evaluator } from '../../src/core/evaluator.ts';
import { SHARES_OPENED, type TakenShare } from '../../src/queue/shares.ts';
import type { WorkerContext } from '../context.ts';
import { openEvaluator } from '../evaluator.ts';
import { readTask, shareFileKey, writeResult } from './share-files.ts';

/** Jobs whose evaluators are kept; opening one runs the text encoder. */
const MAX_EVALUATORS = 4;
/** Time for which a helper leaves a job alone after it could not evaluate a share of it. */
const EXCLUSION_MS = 60_000;
/** Time in which a queue gives a worker its next job; work of its own comes before shares. */
const OWN_WORK_MS = 100;

/**
 * Evaluates shares of other workers' jobs while this worker has no work of its own. It works on one
 * share at a time. A share that it can't evaluate goes back to the job's worker, whatever the
 * reason: only errors there count.
 */
export class ShareHelper {
  readonly #context: WorkerContext;
  readonly #isIdle: () => boolean;
  readonly #evaluators = new Map<string, Promise<Evaluator>>();
  /** Jobs that are left alone, with the time (`performance.now`) until then. */
  readonly #excluded = new Map<string, number>();
  readonly #unsubscribe: () => void;
  #working: Promise<void> | null = null;
  #wakeAgain = false;
  #timer: NodeJS.Timeout | undefined;
  #current: string | null = null;

  /** @param isIdle whether this worker has no work of its own */
  constructor(context: WorkerContext, isIdle: () => boolean) {
    this.#context = context;
    this.#isIdle = isIdle;
    this.#unsubscribe = context.sharing.feed.on(SHARES_OPENED, () => this.#wake());
  }

  /** Id of the job that it helps, if there is one. */
  get currentJobs(): readonly string[] {
    return this.#current === null ? [] : [this.#current];
  }

  /** Looks for shares soon. Call it when the worker may have become idle. */
  wakeSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), OWN_WORK_MS);
  }

  /** Takes no more shares, and waits for the current one, which ends early on shutdown. */
  async close(): Promise<void> {
    this.#unsubscribe();
    clearTimeout(this.#timer);
    await this.#working;
  }

  #wake(): void {
    this.#wakeAgain = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  async #work(): Promise<void> {
    const { sharing, logger, shutdown } = this.#context;
    while (this.#wakeAgain && this.#isIdle() && !shutdown.aborted) {
      this.#wakeAgain = false;
      try {
        const share = await sharing.shares.take(sharing.workerId, sharing.kind, this.#excludedJobs());
        if (share === null) continue;
        this.#wakeAgain = true; // there may be more
        this.#current = share.jobId;
        await this.#process(share);
      } catch (error) {
        logger.warn({ err: error }, 'shares of other workers could not be taken');
      } finally {
        this.#current = null;
      }
    }
  }

  async #process(share: TakenShare): Promise<void> {
    const { sharing, blobs, shutdown, logger } = this.#context;
    const { shares, workerId } = sharing;
    const { jobId, index } = share;
    const over = abortedWith(shutdown);
    const unsubscribe = sharing.feed.on(jobId, () => void this.#stopIfOver(share, over).catch(() => {}));
    const fileKey = shareFileKey(share, workerId);
    try {
      const evaluator = await this.#evaluatorOf(jobId);
      const { noises, options } = await readTask(blobs, share.task);
      const evaluations = await evaluator.evaluate(noises, { ...options, signal: over.signal });
      const result = await writeResult(blobs, fileKey, { worker: workerId, evaluations }, options);
      if (!(await shares.finish(share, workerId, result))) await blobs.delete(fileKey);
      logger.debug({ jobId, index, noises: noises.length }, 'share of another worker evaluated');
    } catch (error) {
      if (shutdown.aborted) return await shares.giveBack(share, workerId, { mayRetry: true });
      // The files of an evaluation that has ended are gone.
      await this.#stopIfOver(share, over);
      if (over.signal.aborted) return;
      logger.warn({ err: error, jobId }, "a share could not be evaluated; the job's worker does it");
      this.#excluded.set(jobId, performance.now() + EXCLUSION_MS);
      this.#evaluators.delete(jobId);
      await shares.giveBack(share, workerId, { mayRetry: false });
    } finally {
      unsubscribe();
      over.abort(); // the signal of the shutdown forgets it
    }
  }

  /** Aborts `over` when the share has a result, or its evaluation has ended. */
  async #stopIfOver({ jobId, evaluation, index }: TakenShare, over: AbortController): Promise<void> {
    const found = await this.#context.sharing.shares.results(jobId, evaluation, [index]);
    if (found === null || found[0] !== null) over.abort();
  }

  #evaluatorOf(jobId: string): Promise<Evaluator> {
    const known = this.#evaluators.get(jobId);
    const evaluator = known ?? this.#openEvaluator(jobId);
    this.#evaluators.delete(jobId);
    this.#evaluators.set(jobId, evaluator);
    evaluator.catch(() => this.#evaluators.delete(jobId));
    for (const oldest of this.#evaluators.keys()) {
      if (this.#evaluators.size <= MAX_EVALUATORS) break;
      this.#evaluators.delete(oldest);
    }
    return evaluator;
  }

  async #openEvaluator(jobId: string): Promise<Evaluator> {
    this.#context.recycling.countWork();
    return openEvaluator(this.#context, await this.#context.store.jobs.get(jobId));
  }

  #excludedJobs(): string[] {
    const now = performance.now();
    for (const [id, until] of this.#excluded) if (until < now) this.#excluded.delete(id);
    return [...this.#excluded.keys()];
  }
}
