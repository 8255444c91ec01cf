import { type ChildProcess, fork } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A running scoring service. */
export interface ScoringService {
  readonly url: string;
  readonly process: ChildProcess;
  /** The requests that it got. */
  calls(): Promise<{ path: string; images: number; prompt: string; authorization: string | null }[]>;
  /** Kills the process and waits until it has exited. */
  stop(): Promise<void>;
}

/** Starts `scoring-service-process.ts` in a separate process. */
export async function startScoringService(): Promise<ScoringService> {
  const process = fork(fileURLToPath(new URL('./scoring-service-process.ts', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const port = await new Promise((resolve, reject) => {
    process.once('message', resolve);
    process.once('exit', (code) => reject(new Error(`the scoring service exited with ${code}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    process,
    calls: async () => (await fetch(`${url}/calls`)).json() as ReturnType<ScoringService['calls']>,
    stop: () =>
      new Promise((resolve) => {
        if (process.exitCode !== null || process.signalCode !== null) return resolve();
        process.once('exit', () => resolve());
        process.kill('SIGKILL');
      }),
  };
}

/**
 * Writes the bundle of a reward that uses a scoring service.
 * @param card content of findery.json without `kind`
 */
export async function writeReward(folder: string, name: string, card: object): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'findery.json'), JSON.stringify({ kind: 'reward', ...card }));
}
