/**
 * Runs calls, at most `limit` at the same time.
 *
 * The first failure aborts the signal of the calls that are under way and starts no further ones.
 * @param calls each is given a signal that aborts on failure or when `signal` does
 * @returns the results, in the order of `calls`
 * @throws the first failure; the reason of `signal` if it is aborted
 */
export async function runInParallel<T>(
  calls: readonly ((signal: AbortSignal) => Promise<T>)[],
  limit: number,
  signal?: AbortSignal,
): Promise<T[]> {
  const failure = new AbortController();
  const either = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const results: T[] = [];
  // The workers share this iterator, so each call is taken once.
  const remaining = calls.entries();
  const work = async () => {
    for (const [i, call] of remaining) {
      either.throwIfAborted();
      results[i] = await call(either);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(limit, calls.length) }, work));
    return results;
  } catch (error) {
    failure.abort(error);
    throw error;
  }
}
