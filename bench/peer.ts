import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A running `python_peer.py`, which answers JSON lines. */
export interface Peer {
  readonly process: ChildProcess;
  /**
   * Sends a request and waits for its answer.
   * @throws Error when the process has ended
   */
  ask(request: object): Promise<unknown>;
}

/**
 * Starts the Python peer.
 * @param command a Python with tools/export/requirements.txt
 */
export function startPeer(command: string): Peer {
  const script = fileURLToPath(new URL('./python_peer.py', import.meta.url));
  const process = spawn(command, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
  return {
    process,
    async ask(request) {
      process.stdin.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('The Python peer exited; its error is above.');
      return JSON.parse(value);
    },
  };
}
