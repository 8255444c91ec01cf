import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** An API in a separate process, as `npm run api` starts it. */
export interface ApiProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** Everything that the process has logged, at level trace. */
  log(): string;
  /** Kills the process with SIGKILL, which simulates a crash, and waits until it has exited. */
  kill(): Promise<void>;
}

/**
 * Starts an API on a free port.
 * @param environment has to name Redis, key prefix and data folder
 */
export async function startApiProcess(environment: { readonly [name: string]: string }): Promise<ApiProcess> {
  const child = fork(fileURLToPath(new URL('../../src/cli/api.ts', import.meta.url)), {
    env: { ...process.env, PORT: '0', LOG_LEVEL: 'trace', ...environment },
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let log = '';
  const url = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      log += chunk.toString('utf8');
      const found = /Server listening at (http:\/\/[0-9.:]+)/.exec(log);
      if (found) resolve(found[1]);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', (code) => reject(new Error(`the API exited with ${code}: ${log}`)));
  });
  return {
    url,
    child,
    log: () => log,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    },
  };
}
