import { Interruption } from './interruption.ts';
import type { RunningJob } from './running-job.ts';

/** The longest that a timer can be set for, milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Aborts the work on a job when a client cancels or pauses it, when its deadline passes, when the worker is to end, or when the
 * lock was lost.
 * @returns `look` at the record now, for what was asked before anybody watched; and what ends the watch
 */
export function watchForInterruption(
  { context, lease: claim, record }: RunningJob,
  stop: AbortController,
  lock: AbortSignal | undefined,
): { look(): Promise<void>; end(): void } {
  const { store, cancels, shutdown } = context;
  const look = async () => {
    const now = await store.jobs.find(claim.id);
    if (now?.cancelRequested) stop.abort(new Interruption('canceled'));
    else if (now?.pauseRequested) stop.abort(new Interruption('paused'));
  };
  const onAsked = () => void look().catch(() => {}); // Redis is away; the next commit will tell
  const onShutdown = () => stop.abort(new Interruption('shutdown'));
  const onLost = () => stop.abort(new Interruption('lost'));
  const off = cancels.on(claim.id, onAsked);
  shutdown.addEventListener('abort', onShutdown);
  lock?.addEventListener('abort', onLost);
  if (shutdown.aborted) onShutdown();
  let timer: NodeJS.Timeout | undefined;
  const deadline = record.deadline ? Date.parse(record.deadline) : Number.POSITIVE_INFINITY;
  const awaitDeadline = () => {
    const left = deadline - Date.now();
    if (left <= 0) stop.abort(new Interruption('expired'));
    else if (left < Number.POSITIVE_INFINITY)
      timer = setTimeout(awaitDeadline, Math.min(left, LONGEST_TIMER));
  };
  awaitDeadline();
  return {
    look,
    end() {
      off();
      clearTimeout(timer);
      shutdown.removeEventListener('abort', onShutdown);
      lock?.removeEventListener('abort', onLost);
    },
  };
}
