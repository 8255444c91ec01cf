import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Preloaded into the process of the API (`--import`, with `--expose-gc`): answers the message
 * `report-memory` with the memory of the process after a garbage collection. The service does not
 * know about it.
 */
process.on('message', async (message) => {
  if (message !== 'report-memory') return;
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await sleep(100); // lets finalizers run and sockets close
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ memory: { rss, heapUsed, external, files: readdirSync('/proc/self/fd').length } });
});
// The IPC channel must not keep the process alive.
process.channel?.unref();
