/** Loaded into an API process by the soak (`--import`): tells its memory whenever it is asked. */
process.on('message', (message) => {
  if (message === 'memory') process.send?.({ memory: process.memoryUsage() });
});
