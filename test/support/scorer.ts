import { type ChildProcess, fork } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface ScorerService {
  readonly url: string;
  readonly process: ChildProcess;
  calls(): Promise<{ path: string; images: number; prompt: string; authorization: string | null }[]>;
  stop(): Promise<void>;
}

/** Starts scorer-process.ts as a process of its own. */
export async function startScorer(): Promise<ScorerService> {
  const process = fork(fileURLToPath(new URL('./scorer-process.ts', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const port = await new Promise((resolve, reject) => {
    process.once('message', resolve);
    process.once('exit', (code) => reject(new Error(`the scorer ended with ${code}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    process,
    calls: async () => (await fetch(`${url}/calls`)).json() as ReturnType<ScorerService['calls']>,
    stop: () =>
      new Promise((resolve) => {
        if (process.exitCode !== null || process.signalCode !== null) return resolve();
        process.once('exit', () => resolve());
        process.kill('SIGKILL');
      }),
  };
}

/** Writes the folder of a reward that is such a service. */
export async function writeReward(folder: string, name: string, card: object): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'findery.json'), JSON.stringify({ kind: 'reward', ...card }));
}
