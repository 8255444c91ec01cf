import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Cell, Run, Setup } from './record.ts';
import type { Choice, Runner } from './runner.ts';

/** What a process says. */
export type Told =
  | { readonly type: 'ready'; readonly setup: Setup }
  | { readonly type: 'images'; readonly count: number }
  | { readonly type: 'ran'; readonly run: Run }
  | { readonly type: 'failed'; readonly message: string };

/**
 * Runners on this machine, each in a process of its own with its share of the cores. Graphs of pictures as small as the embedded model's gain
 * less from a second thread than from a second process; figures are the same to the bit, since each cell is a matter of its seed alone.
 * @throws Error when one of them can't start; none is left running then
 */
export async function startProcesses(choice: Choice, processes: number, threads: number): Promise<Runner[]> {
  const children = Array.from({ length: processes }, () =>
    fork(fileURLToPath(new URL('./local-process.ts', import.meta.url)), {
      env: { ...process.env, FINDERY_THREADS: String(threads) },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    }),
  );
  try {
    return await Promise.all(children.map((child) => start(child, choice)));
  } catch (error) {
    for (const child of children) child.kill();
    throw error;
  }
}

async function start(child: ChildProcess, choice: Choice): Promise<Runner> {
  const ready = await ask(child, choice, 'ready', () => {});
  return {
    setup: ready.setup,
    run: async (cell: Cell, onImages) => (await ask(child, cell, 'ran', onImages)).run,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

/** Sends it something, and waits for an answer of this type. */
function ask<T extends Told['type']>(
  child: ChildProcess,
  what: Choice | Cell,
  type: T,
  onImages: (count: number) => void,
): Promise<Extract<Told, { type: T }>> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      child.off('message', hear).off('exit', lost);
      act();
    };
    const hear = (told: Told) => {
      if (told.type === 'images') return onImages(told.count);
      if (told.type === type) return settle(() => resolve(told as Extract<Told, { type: T }>));
      settle(() => reject(new Error(told.type === 'failed' ? told.message : `It told "${told.type}".`)));
    };
    const lost = (code: number | null, signal: string | null) =>
      settle(() =>
        reject(
          new Error(
            `A process of the evaluation ended with ${signal ?? code}. Run it again: it goes on where it ended.`,
          ),
        ),
      );
    child.on('message', hear).once('exit', lost);
    child.send(what);
  });
}
