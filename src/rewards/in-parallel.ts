/**
 * Runs the calls, at most `limit` at a time; their results in order. The first failure ends it: those that run are told by
 * their signal, the rest is not begun.
 */
export async function inParallel<T>(
  calls: readonly ((signal: AbortSignal) => Promise<T>)[],
  limit: number,
  signal?: AbortSignal,
): Promise<T[]> {
  const failed = new AbortController();
  const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const results: T[] = [];
  const waiting = calls.entries();
  const work = async () => {
    for (const [i, call] of waiting) {
      either.throwIfAborted();
      results[i] = await call(either);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(limit, calls.length) }, work));
    return results;
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}
