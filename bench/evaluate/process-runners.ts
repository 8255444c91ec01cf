import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Cell, Run, Setup } from './records.ts';
import type { Runner, RunSettings } from './runner.ts';

/** Message from a process to its parent. */
export type ProcessMessage =
  | { readonly type: 'ready'; readonly setup: Setup }
  | { readonly type: 'images'; readonly count: number }
  | { readonly type: 'ran'; readonly run: Run }
  | { readonly type: 'failed'; readonly message: string };

/**
 * Starts runners in processes of this machine. For pictures as small as the embedded model's, a
 * second process gains more than a second thread. A cell depends only on its seed, so the results
 * are bit-identical.
 * @param processes number of processes
 * @param threads threads of each process
 * @throws Error when one of them can't start; the others are ended then
 */
export async function startProcessRunners(
  settings: RunSettings,
  processes: number,
  threads: number,
): Promise<Runner[]> {
  const children = Array.from({ length: processes }, () =>
    fork(fileURLToPath(new URL('./local-runner-process.ts', import.meta.url)), {
      env: { ...process.env, FINDERY_THREADS: String(threads) },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    }),
  );
  try {
    return await Promise.all(children.map((child) => start(child, settings)));
  } catch (error) {
    for (const child of children) child.kill();
    throw error;
  }
}

async function start(child: ChildProcess, settings: RunSettings): Promise<Runner> {
  const ready = await request(child, settings, 'ready', () => {});
  return {
    setup: ready.setup,
    run: async (cell: Cell, onImages) => (await request(child, cell, 'ran', onImages)).run,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

/**
 * Sends a message and waits for an answer of this type.
 * @throws Error when the process reports a failure, or exits
 */
function request<T extends ProcessMessage['type']>(
  child: ChildProcess,
  message: RunSettings | Cell,
  type: T,
  onImages: (count: number) => void,
): Promise<Extract<ProcessMessage, { type: T }>> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      child.off('message', receive).off('exit', exited);
      finish();
    };
    const receive = (answer: ProcessMessage) => {
      if (answer.type === 'images') return onImages(answer.count);
      if (answer.type === type) return settle(() => resolve(answer as Extract<ProcessMessage, { type: T }>));
      settle(() =>
        reject(
          new Error(answer.type === 'failed' ? answer.message : `The process answered "${answer.type}".`),
        ),
      );
    };
    const exited = (code: number | null, signal: string | null) =>
      settle(() =>
        reject(
          new Error(
            `A process of the evaluation exited with ${signal ?? code}. Run the command again to continue.`,
          ),
        ),
      );
    child.on('message', receive).once('exit', exited);
    child.send(message);
  });
}
