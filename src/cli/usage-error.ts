/** Arguments of the command line that can't be understood. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
