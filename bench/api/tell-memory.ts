/** Loaded into an API process that is measured (`--import`): tells its memory whenever it is asked, and ends with who started it. */
process.on('message', (message) => {
  if (message === 'memory') process.send?.({ memory: process.memoryUsage() });
});
process.on('disconnect', () => process.exit(0));
// Told to end, it ends by itself: listening here must not keep it.
process.channel?.unref();
