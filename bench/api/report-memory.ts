/**
 * Preloaded into an API or a worker (`--import`): answers the message `memory` with the
 * memory of the process, and exits with the benchmark that started it.
 */
process.on('message', (message) => {
  if (message === 'memory') process.send?.({ memory: process.memoryUsage() });
});
process.on('disconnect', () => process.exit(0));
// The IPC channel must not keep the process alive after SIGTERM.
process.channel?.unref();
