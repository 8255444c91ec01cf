/**
 * Runs the main function of a process. An error is printed as one message without a stack trace
 * (with it if LOG_LEVEL is debug or trace), and the exit status is 1.
 * @param main if it has a parameter, SIGINT and SIGTERM abort that signal, and a second one ends
 *   the process; without the parameter they end the process at once
 */
export async function runMain(main: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  for (const name of main.length > 0 ? (['SIGINT', 'SIGTERM'] as const) : []) {
    process.on(name, () => {
      // The person or supervisor insists.
      if (controller.signal.aborted) process.exit(130);
      controller.abort(name);
    });
  }
  try {
    await main(controller.signal);
  } catch (error) {
    const verbose = /^(debug|trace)$/.test(process.env.LOG_LEVEL ?? '');
    console.error(verbose ? error : `findery: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
