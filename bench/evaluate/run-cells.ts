import { SingleBar } from 'cli-progress';
import type { Cell, RecordFile } from './record.ts';
import type { Runner } from './runner.ts';

/** Runs the cells that are not among the records yet, with a bar of progress; after `maxMinutes` no new one is begun. */
export async function runCells(
  cells: readonly Cell[],
  records: RecordFile,
  runners: readonly Runner[],
  draws: number,
  maxMinutes: number,
): Promise<void> {
  const open = cells.filter((cell) => !records.has(cell));
  if (open.length < cells.length)
    console.log(`${cells.length - open.length} of ${cells.length} runs are there already.`);
  const images = open.reduce((sum, { budget }) => sum + budget + draws, 0);
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {value}/{total} images | {eta_formatted} left | {cell}',
    noTTYOutput: true,
    notTTYSchedule: 30_000,
    etaBuffer: 500,
  });
  bar.start(images, 0, { cell: '' });
  const began = performance.now();
  // Each runner takes the next cells that share their fresh draws of N(0, I): these are made once for all of them.
  const groups = groupsOf(open).values();
  try {
    await Promise.all(
      runners.map(async (runner) => {
        for (const group of groups) {
          for (const cell of group) {
            if (performance.now() - began > maxMinutes * 60_000) return;
            bar.update({ cell: `${cell.optimizer}, ${cell.budget}, seed ${cell.seed}: ${cell.prompt}` });
            await records.add(await runner.run(cell, (count) => bar.increment(count)));
          }
        }
      }),
    );
  } finally {
    bar.stop();
  }
}

function groupsOf(cells: readonly Cell[]): Cell[][] {
  return [...Map.groupBy(cells, ({ prompt, seed }) => JSON.stringify([prompt, seed])).values()];
}
