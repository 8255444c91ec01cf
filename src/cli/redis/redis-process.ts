import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { PAUSE, probe } from './redis-probe.ts';

/**
 * Becomes the server after leaving a watcher behind: a shell that reads our pipe, which the system closes when this
 * process ends in any way, SIGKILL included, and then tells the server to shut down. The watcher stays in the server's
 * process group; so its number can't pass to another process while the watcher may still use it.
 */
const GUARD = `server=$$
exec 3<&0
(while read -r line <&3; do :; done; kill -TERM $server) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null`;

/** How long a server may take to its first answer, milliseconds; one that loads its data answers that it does. */
const START_PATIENCE = 30_000;
/** How long a server may take to write its data at the end, milliseconds. */
export const SHUTDOWN_PATIENCE = 10_000;

/** A Redis server in `folder`, on 127.0.0.1 and that port, which ends with this process. */
export function launch(program: string, folder: string, port: number) {
  const settings = [
    ['--bind', '127.0.0.1'],
    ['--port', String(port)],
    ['--daemonize', 'no'],
    ['--dir', '.'],
    ['--appendonly', 'yes'],
    ['--appendfsync', 'always'],
    ['--save', ''],
    ['--maxmemory-policy', 'noeviction'],
    ['--loglevel', 'warning'],
  ].flat();
  const child = spawn('/bin/sh', ['-c', GUARD, 'findery-redis', program, ...settings], {
    cwd: folder,
    // Ctrl-C goes to the whole group of a terminal; the server must outlive the workers that still write to it.
    detached: true,
    // Redis refuses to start under a locale that the machine lacks.
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const pipes = [child.stdin, child.stdout, child.stderr] as unknown as readonly Socket[];
  let tail = '';
  let stopping = false;
  for (const pipe of pipes.slice(1)) {
    pipe.on('data', (text: Buffer) => {
      tail = (tail + text).slice(-2000);
    });
  }
  child.stdin.on('error', () => {}); // the watcher may be gone already
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      tail += error.message;
      resolve();
    });
    child.on('close', () => resolve());
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  // Neither the server nor its pipes keep this process alive; its end closes the pipe and thereby ends the server.
  child.unref();
  for (const pipe of pipes) pipe.unref();

  return {
    output: () => tail.trim(),
    async isReady(log: (line: string) => void): Promise<boolean> {
      const deadline = performance.now() + START_PATIENCE;
      let told = false;
      while (!hasEnded()) {
        const state = await probe(port, folder);
        if (state === 'ready') return true;
        if (state === 'loading' && !told) log('The private Redis is loading its data ...');
        told ||= state === 'loading';
        if (state === 'none' && performance.now() > deadline) return false;
        await sleep(PAUSE);
      }
      await ended;
      return false;
    },
    /** Tells `log` when the server ends although nobody stopped it, and calls `onEnd`. */
    watch(log: (line: string) => void, onEnd: () => void): void {
      const tell = () => {
        if (stopping) return;
        log(`The private Redis has ended and is started again. Its last lines:\n${tail.trim() || '(none)'}`);
        onEnd();
      };
      if (hasEnded()) tell();
      else child.once('exit', tell);
    },
    async stop(): Promise<void> {
      stopping = true;
      if (child.pid === undefined) return;
      child.ref();
      child.stdin.end();
      const impatience = setTimeout(() => killGroup(child, 'SIGKILL'), SHUTDOWN_PATIENCE);
      await ended;
      clearTimeout(impatience);
    },
  };
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}
