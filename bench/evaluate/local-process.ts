import { startLocal } from './local.ts';
import type { Told } from './processes.ts';
import type { Cell } from './record.ts';
import type { Choice } from './runner.ts';

/** A process of `startProcesses`: runs the cells that it is sent, one at a time, and tells what becomes of them. */
const tell = (told: Told) => process.send?.(told);
const failed = (error: unknown) =>
  tell({ type: 'failed', message: error instanceof Error ? error.message : String(error) });

process.on('disconnect', () => process.exit(0));
process.once('message', async (choice: Choice) => {
  try {
    const runner = await startLocal(choice);
    process.on('message', (cell: Cell) => {
      runner
        .run(cell, (count) => tell({ type: 'images', count }))
        .then((run) => tell({ type: 'ran', run }), failed);
    });
    tell({ type: 'ready', setup: runner.setup });
  } catch (error) {
    failed(error);
  }
});
