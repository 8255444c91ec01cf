import { startLocalRunner } from './local-runner.ts';
import type { ProcessMessage } from './process-runners.ts';
import type { Cell } from './records.ts';
import type { RunSettings } from './runner.ts';

/**
 * Entry point of the processes of `startProcessRunners`. The first message has the settings, every
 * further one a cell to run. Answers are `ProcessMessage`s.
 */
const send = (message: ProcessMessage) => process.send?.(message);
const failed = (error: unknown) =>
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });

process.on('disconnect', () => process.exit(0));
process.once('message', async (settings: RunSettings) => {
  try {
    const runner = await startLocalRunner(settings);
    process.on('message', (cell: Cell) => {
      runner
        .run(cell, (count) => send({ type: 'images', count }))
        .then((run) => send({ type: 'ran', run }), failed);
    });
    send({ type: 'ready', setup: runner.setup });
  } catch (error) {
    failed(error);
  }
});
