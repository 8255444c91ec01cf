import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Bytes of the small disk: plenty for a few dozen jobs, and quickly filled up. */
const SIZE = 256 * 2 ** 20;

/** A disk that can be full for a while. */
export interface Disk {
  /** What stands for a full disk here. */
  readonly how: string;
  fill(): void;
  free(): void;
  /** Takes it away; what is on it goes. */
  remove(): void;
}

/**
 * The disk of `folder`: a small file system of its own (tmpfs), where this process may mount one; it is full when a file takes all
 * that is free, and every write fails with ENOSPC. Elsewhere the folder of blobs refuses to be written (EACCES).
 */
export function prepareDisk(folder: string): Disk {
  mkdirSync(folder, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE},mode=0755`, 'tmpfs', folder], {
      stdio: 'ignore',
    });
  } catch {
    return refusing(join(folder, 'blobs'));
  }
  const ballast = join(folder, 'ballast');
  return {
    how: 'a tmpfs without free bytes, for blobs and Redis',
    fill: () => fillUp(ballast),
    free: () => rmSync(ballast, { force: true }),
    remove() {
      execFileSync('umount', ['--lazy', folder], { stdio: 'ignore' });
    },
  };
}

function fillUp(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (let size = 2 ** 20; size >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(file);
  }
}

function refusing(blobs: string): Disk {
  const folders = () => [blobs, join(blobs, 'checkpoints'), join(blobs, 'policies')];
  const change = (mode: number) => {
    for (const path of folders()) if (statSync(path, { throwIfNoEntry: false })) chmodSync(path, mode);
  };
  return {
    how: 'folders of blobs that can not be written (no file system can be mounted here)',
    fill: () => change(0o555),
    free: () => change(0o755),
    remove: () => change(0o755),
  };
}
