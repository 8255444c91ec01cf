import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Whether this system can limit the memory of a running process (Linux with prlimit). */
export const CAN_LIMIT_MEMORY = process.platform === 'linux' && hasPrlimit();

/**
 * Limits the data segment of a running process (heap and anonymous maps). Allocations beyond it
 * fail.
 * @param mebibytes allowance in MiB beyond what the process uses now
 */
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
