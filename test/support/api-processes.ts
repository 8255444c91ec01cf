import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** An API as `npm run api` starts it, in a process of its own. */
export interface ApiProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** All that it has logged. */
  log(): string;
  /** SIGKILL, as a crash ends it. */
  kill(): Promise<void>;
}

/** Starts one on a free port. `environment` has to name Redis, prefix and data folder. */
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
    child.once('exit', (code) => reject(new Error(`the API ended with ${code}: ${log}`)));
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
