import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { POLL_INTERVAL_MS, probe } from './redis-probe.ts';

/**
 * Shell script that starts a watchdog and then replaces itself with the server. The watchdog reads
 * a pipe from this process. The system closes the pipe when this process ends, by SIGKILL too; the
 * watchdog then sends SIGTERM to the server. The watchdog stays in the server's process group, so
 * the system cannot reuse the server's process number while the watchdog may still signal it. Other
 * users cannot read the files of the server.
 */
const WATCHDOG_SCRIPT = `umask 077
server=$$
exec 3<&0
(while read -r line <&3; do :; done; kill -TERM $server) </dev/null >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null`;

/** Time until the first answer of a server. A server that loads its data does answer. */
const START_TIMEOUT_MS = 30_000;
/** Time that a server may take to write its data and exit, before it is killed. */
export const SHUTDOWN_TIMEOUT_MS = 10_000;

/**
 * Starts a Redis server that listens on a unix socket and ends when this process ends.
 * @param program path of redis-server or valkey-server
 * @param folder where the server keeps its append-only file
 * @param socket path of the socket
 */
export function launchRedis(program: string, folder: string, socket: string) {
  const settings = [
    ['--port', '0'],
    ['--unixsocket', socket],
    ['--unixsocketperm', '700'],
    ['--daemonize', 'no'],
    ['--dir', '.'],
    ['--appendonly', 'yes'],
    ['--appendfsync', 'always'],
    ['--save', ''],
    ['--maxmemory-policy', 'noeviction'],
    ['--loglevel', 'warning'],
  ].flat();
  const child = spawn('/bin/sh', ['-c', WATCHDOG_SCRIPT, 'findery-redis', program, ...settings], {
    cwd: folder,
    // A terminal sends Ctrl-C to its whole process group. The server needs a group of its own,
    // because it must outlive the workers that still write to it.
    detached: true,
    // Redis does not start under a locale that is not installed.
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // Node types the pipes of a child as plain streams; they are sockets, and only those have
  // `unref`.
  const pipes = [child.stdin, child.stdout, child.stderr] as unknown as readonly Socket[];
  let tail = '';
  let stopping = false;
  for (const pipe of pipes.slice(1)) {
    pipe.on('data', (text: Buffer) => {
      tail = (tail + text).slice(-2000);
    });
  }
  child.stdin.on('error', () => {}); // the watchdog may have ended already
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => {
      tail += error.message;
      resolve();
    });
    child.on('close', () => resolve());
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  // Neither the server nor its pipes may keep this process alive. When it ends, the watchdog ends
  // the server.
  child.unref();
  for (const pipe of pipes) pipe.unref();

  return {
    /** The last 2000 characters that the server wrote. */
    output: () => tail.trim(),
    /** Waits until the server answers. False: it exited, or it did not answer in time. */
    async isReady(log: (line: string) => void): Promise<boolean> {
      const deadline = performance.now() + START_TIMEOUT_MS;
      let isLoggedLoading = false;
      while (!hasEnded()) {
        const state = await probe(socket, folder);
        if (state === 'ready') return true;
        if (state === 'loading' && !isLoggedLoading) {
          log('The private Redis is loading its data ...');
          isLoggedLoading = true;
        }
        if (state === 'none' && performance.now() > deadline) return false;
        await sleep(POLL_INTERVAL_MS);
      }
      await ended;
      return false;
    },
    /** Logs an exit of the server that `stop` did not cause, and calls `onEnd`. */
    watch(log: (line: string) => void, onEnd: () => void): void {
      const report = () => {
        if (stopping) return;
        log(`The private Redis exited; it is being restarted. Its last lines:\n${tail.trim() || '(none)'}`);
        onEnd();
      };
      if (hasEnded()) report();
      else child.once('exit', report);
    },
    /** Shuts the server down and waits until its data are written. */
    async stop(): Promise<void> {
      stopping = true;
      if (child.pid === undefined) return;
      child.ref();
      child.stdin.end();
      const killTimer = setTimeout(() => killGroup(child, 'SIGKILL'), SHUTDOWN_TIMEOUT_MS);
      await ended;
      clearTimeout(killTimer);
    },
  };
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // The group has ended already.
  }
}
