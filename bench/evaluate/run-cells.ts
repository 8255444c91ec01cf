import { SingleBar } from 'cli-progress';
import type { Cell, RecordFile } from './records.ts';
import type { Runner } from './runner.ts';

/**
 * Runs the cells that the file does not have yet, with a progress bar.
 * @param samples held-out samples of each run, for the progress bar
 * @param maxMinutes time after which no further cell is begun
 */
export async function runCells(
  cells: readonly Cell[],
  records: RecordFile,
  runners: readonly Runner[],
  samples: number,
  maxMinutes: number,
): Promise<void> {
  const open = cells.filter((cell) => !records.has(cell));
  if (open.length < cells.length)
    console.log(`${cells.length - open.length} of ${cells.length} runs exist already.`);
  const images = open.reduce((sum, { budget }) => sum + budget + samples, 0);
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {value}/{total} images | {eta_formatted} left | {cell}',
    noTTYOutput: true,
    notTTYSchedule: 30_000,
    etaBuffer: 500,
  });
  bar.start(images, 0, { cell: '' });
  const began = performance.now();
  // The cells of a group share their samples of N(0, I), which a runner makes once.
  const groups = groupByPromptAndSeed(open).values();
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

function groupByPromptAndSeed(cells: readonly Cell[]): Cell[][] {
  return [...Map.groupBy(cells, ({ prompt, seed }) => JSON.stringify([prompt, seed])).values()];
}
