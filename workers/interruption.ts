import type { JobRecord } from '../src/contract/records.ts';
import { DeviceLostError, OutOfMemoryError } from '../src/engine/errors.ts';
import { BlobStoreError, DamagedBlobError } from '../src/storage/blobs.ts';
import type { RunningJob } from './context.ts';
import { Interruption, type InterruptionKind } from './stop-reason.ts';

/** Kinds after which the queue offers the work again. */
const GIVEN_BACK: readonly InterruptionKind[] = ['shutdown', 'memory', 'device', 'paused', 'storage'];

/** Storage may be away for this long before the work that waits for it fails. */
const MAX_STORAGE_WAIT_MS = 24 * 3_600_000;
/** The delay between two tries of work that waits for storage. */
const STORAGE_RETRY_MS = 3000;
/** Node's limit of a timer; later deadlines need several timers. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Aborts `stop` with an Interruption when a client cancels or pauses the job, its deadline passes,
 * the worker shuts down, or the queue's lock of the job is lost.
 * @returns `checkRequests` reads the record, for requests that were made before the watch began;
 * `end` ends the watch
 */
export function watchForInterruption(
  { context, lease, record }: RunningJob,
  stop: AbortController,
  lockLost: AbortSignal | undefined,
): { checkRequests(): Promise<void>; end(): void } {
  const { store, cancelFeed, shutdown } = context;
  const interrupt = (kind: InterruptionKind) => stop.abort(new Interruption(kind));
  const checkRequests = async () => {
    const current = await store.jobs.find(lease.id);
    if (current?.cancelRequested) interrupt('canceled');
    else if (current?.pauseRequested) interrupt('paused');
  };
  // If Redis is away, the next commit notices the request.
  const unsubscribe = cancelFeed.on(lease.id, () => void checkRequests().catch(() => {}));
  const onShutdown = () => interrupt('shutdown');
  const onLockLost = () => interrupt('lost');
  shutdown.addEventListener('abort', onShutdown);
  lockLost?.addEventListener('abort', onLockLost);
  if (shutdown.aborted) onShutdown();
  const stopTimer = onDeadline(record.deadline, () => interrupt('expired'));
  return {
    checkRequests,
    end() {
      unsubscribe();
      stopTimer();
      shutdown.removeEventListener('abort', onShutdown);
      lockLost?.removeEventListener('abort', onLockLost);
    },
  };
}

function onDeadline(deadline: string | null, expire: () => void): () => void {
  if (!deadline) return () => {};
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    const left = Date.parse(deadline) - Date.now();
    if (left <= 0) expire();
    else timer = setTimeout(wait, Math.min(left, MAX_TIMER_MS));
  };
  wait();
  return () => clearTimeout(timer);
}

/**
 * Distinguishes an error that interrupts a job from one that fails it. The record of the job
 * remembers the interruption, so that the same error can't interrupt it without end.
 * @returns an Interruption, or the error with which the job fails
 */
export async function classifyJobError(job: RunningJob, error: unknown): Promise<unknown> {
  const { context, lease } = job;
  if (error instanceof OutOfMemoryError) return classifyOutOfMemory(job, error);
  if (error instanceof DeviceLostError) {
    context.logger.error({ err: error }, 'the GPU is lost; the job continues in a new process');
    return context.recycling.replaceDevice(error);
  }
  const { storageAway } = (await context.store.jobs.find(lease.id)) ?? {};
  const wait = waitForStorage(error, storageAway);
  if (wait === null) return error;
  context.logger.warn({ err: error }, 'storage is away; the job waits for it');
  await lease.commit({ set: wait }, ['running', 'canceling']);
  return new Interruption('storage');
}

async function classifyOutOfMemory(
  { context, lease }: RunningJob,
  error: OutOfMemoryError,
): Promise<unknown> {
  const record = await context.store.jobs.get(lease.id);
  const iteration = record.checkpoint?.iteration;
  const times = timesAtCheckpoint(record, record.outOfMemory);
  const reason = context.recycling.recycle(error, times);
  if (!(reason instanceof Interruption)) return reason;
  context.logger.warn({ err: error }, 'out of memory; the job continues in a new process');
  // This attempt does not count as fruitless.
  const takenAt = { iteration, times: Math.max(0, timesAtCheckpoint(record, record.takenAt) - 1) };
  await lease.commit({ set: { outOfMemory: { iteration, times: times + 1 }, takenAt } }, ['running']);
  return reason;
}

/**
 * How often something has happened since the job's current checkpoint was stored.
 * @param counter of the job's record, such as `takenAt`; it starts again at each checkpoint
 */
export function timesAtCheckpoint(
  { checkpoint }: JobRecord,
  counter: JobRecord['takenAt'] | undefined,
): number {
  return counter && counter.iteration === checkpoint?.iteration ? counter.times : 0;
}

/**
 * The fields that the record of work needs if the work has to wait for storage, such as on a full
 * disk. Waiting does not use up the tries of the work.
 * @param since RFC 3339: when the work began to wait, if it waits already
 * @returns null if `error` is another failure, or the work has waited for `MAX_STORAGE_WAIT_MS`
 */
export function waitForStorage(
  error: unknown,
  since?: string | null,
): { readonly storageAway: string } | null {
  // Waiting does not mend a damaged blob.
  if (!(error instanceof BlobStoreError) || error instanceof DamagedBlobError) return null;
  const storageAway = since ?? new Date().toISOString();
  return Date.now() - Date.parse(storageAway) > MAX_STORAGE_WAIT_MS ? null : { storageAway };
}

/**
 * Pauses an interrupted job or sets it back to `queued`.
 * @returns `canceled` if a client has canceled the job meanwhile; the caller has to end it
 * @throws Interruption for the queue: the reason if the job was set back, `lost` if another worker
 * has it
 */
export async function giveBack(job: RunningJob, reason: Interruption): Promise<'paused' | 'canceled'> {
  if (reason.kind === 'lost') throw reason;
  if (reason.kind === 'paused' && (await pause(job))) return 'paused';
  const set = {
    status: 'queued' as const,
    // A job that makes room for others has not failed: its attempts are those of its errors.
    ...(reason.kind === 'preempted' ? { attempts: job.record.attempts } : {}),
    // A job that breaks its GPU must not do so without end, so such an attempt counts.
    ...(['memory', 'device'].includes(reason.kind) ? {} : { takenAt: withoutThisAttempt(job.record) }),
  };
  const events = [{ type: 'status', data: { status: 'queued', stage: 'waiting' } }];
  const outcome = await job.lease.attempt({ set, events }, ['running']);
  if (outcome === 'wrong-status') return 'canceled';
  throw outcome === 'done' ? reason : new Interruption('lost');
}

/** Pauses the job. False if it was resumed or canceled meanwhile. */
async function pause({ lease, record }: RunningJob): Promise<boolean> {
  const outcome = await lease.attempt(
    {
      set: { status: 'paused', pauseRequested: false, takenAt: withoutThisAttempt(record) },
      events: [{ type: 'status', data: { status: 'paused', stage: 'waiting' } }],
      expected: { pauseRequested: true },
    },
    ['running'],
  );
  if (outcome === 'not-owner' || outcome === 'missing') throw new Interruption('lost');
  return outcome === 'done';
}

/** `takenAt` as it was before this attempt, which was interrupted and so was not fruitless. */
function withoutThisAttempt({ checkpoint, takenAt }: JobRecord): JobRecord['takenAt'] {
  return takenAt && takenAt.iteration === checkpoint?.iteration ? takenAt : null;
}

/**
 * Milliseconds until the queue may offer interrupted work again; null if `error` ends or fails it.
 */
export function redeliveryDelay(error: unknown, shutdown: AbortSignal): number | null {
  const kind = error instanceof Interruption ? error.kind : null;
  if (!shutdown.aborted && (kind === null || !GIVEN_BACK.includes(kind))) return null;
  return kind === 'storage' ? STORAGE_RETRY_MS : 0;
}
