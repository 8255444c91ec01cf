import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Python beside us: python_peer.py, asked line by line. */
export interface Peer {
  readonly process: ChildProcess;
  ask(question: object): Promise<unknown>;
}

/** @param command a Python with tools/export/requirements.txt */
export function startPeer(command: string): Peer {
  const script = fileURLToPath(new URL('./python_peer.py', import.meta.url));
  const process = spawn(command, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
  return {
    process,
    async ask(question) {
      process.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error('The Python peer ended; what it said is above.');
      return JSON.parse(value);
    },
  };
}
