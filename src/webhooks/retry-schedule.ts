/** Attempts of one round. With a first delay of 6 s, their 11 delays take about a day. */
export const MAX_ATTEMPTS = 12;

/** Longest delay between two attempts, in seconds: six hours. */
const MAX_DELAY_SECONDS = 21_600;

/**
 * Computes the delay before the next attempt, in milliseconds: exponential backoff with factor 3,
 * up to six hours, plus or minus 20 % of jitter, so that deliveries that failed together are not
 * retried together.
 * @param attempts number of attempts so far, at least 1
 * @param options.first seconds before the second attempt
 * @param options.retryAfter seconds that the receiver requested; null when it did not. A longer
 *   delay than the computed one is respected up to six hours.
 * @param options.random in [0, 1)
 */
export function retryDelay(
  attempts: number,
  {
    first,
    retryAfter,
    random,
  }: { readonly first: number; readonly retryAfter: number | null; readonly random: number },
): number {
  const seconds = Math.min(MAX_DELAY_SECONDS, first * 3 ** (attempts - 1)) * (0.8 + 0.4 * random);
  return Math.round(1000 * Math.max(seconds, Math.min(MAX_DELAY_SECONDS, retryAfter ?? 0)));
}
