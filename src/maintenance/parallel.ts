/**
 * Calls `work` for each item, at most `limit` calls at the same time. The first failure rejects the
 * promise, but does not stop the calls for other items.
 */
export async function forEachInParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  // The workers share this iterator, so each item is taken once.
  const remaining = items.values();
  const worker = async () => {
    for (const item of remaining) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
