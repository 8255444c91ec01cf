import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whether a process's memory can be limited from outside here. */
export const CAN_LIMIT = process.platform === 'linux' && hasPrlimit();

/** From now on a process gets `mebibytes` more for its data (heap, anonymous maps) than it has; then its allocations fail. */
export function limitMemory(pid: number, mebibytes: number): void {
  const [, kilobytes] = /VmData:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  execFileSync('prlimit', ['--pid', String(pid), `--data=${Number(kilobytes) * 1024 + mebibytes * 2 ** 20}`]);
}

function hasPrlimit(): boolean {
  try {
    execFileSync('prlimit', ['--version']);
    return true;
  } catch {
    return false;
  }
}
