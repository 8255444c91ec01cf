/** The longest pause between two attempts, seconds: a quarter of a day. */
const LONGEST = 21_600;

/**
 * Milliseconds before the next attempt: `first` seconds, threefold each time, a quarter of a day at most, give or take a fifth,
 * so that what failed together is not tried together. The 11 pauses of 12 attempts take about a day when `first` is 6.
 * @param attempts that were made, 1 or more
 * @param retryAfter seconds that the receiver asked for
 * @param random in [0, 1)
 */
export function retryDelay(
  attempts: number,
  {
    first,
    retryAfter,
    random,
  }: { readonly first: number; readonly retryAfter: number | null; readonly random: number },
): number {
  const seconds = Math.min(LONGEST, first * 3 ** (attempts - 1)) * (0.8 + 0.4 * random);
  return Math.round(1000 * Math.max(seconds, Math.min(LONGEST, retryAfter ?? 0)));
}
