import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Loaded into the API's process before it (`--import`, with `--expose-gc`): tells what the process holds once all garbage is gone.
 * The service itself knows nothing of it.
 */
process.on('message', async (message) => {
  if (message !== 'gauge') return;
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await sleep(100); // finalizers and closed sockets
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ gauge: { rss, heapUsed, external, files: readdirSync('/proc/self/fd').length } });
});
// The channel alone keeps nothing alive.
process.channel?.unref();
