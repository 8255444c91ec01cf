import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The arguments of a command can't be understood. `findery` prints the message and the command's
 * usage.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Node's `parseArgs`, for the arguments after the name of a command.
 * @throws UsageError for an unknown option, a missing value or a positional argument that is not
 *   allowed
 */
export function parseArguments<const T extends Omit<ParseArgsConfig, 'args'>>(
  args: readonly string[],
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs<T>({ ...config, args: [...args] });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
