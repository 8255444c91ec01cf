/**
 * Runs a command's main function: what goes wrong is one clear message and status 1, never a stack trace (unless
 * LOG_LEVEL is debug or trace). A function that takes a signal gets one that SIGINT and SIGTERM abort; any other is ended by them at once.
 */
export async function runMain(main: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  for (const name of main.length > 0 ? (['SIGINT', 'SIGTERM'] as const) : []) {
    process.on(name, () => {
      // A second signal means it: the operating system's default takes over.
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
