import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Size of the small disk: enough for three Redises and a hundred jobs, and quick to fill. */
const DISK_BYTES = 512 * 2 ** 20;

/** A disk that can be full for some time. */
export interface Disk {
  /** How a full disk is simulated, for the log. */
  readonly description: string;
  fill(): void;
  free(): void;
  /** Removes the disk with everything on it. */
  remove(): void;
}

/**
 * Makes `folder` a small disk. If this process may mount a tmpfs, a file that takes all free bytes
 * fills it, and every write fails with ENOSPC. Otherwise the folder of blobs becomes read-only, and
 * writes to it fail with EACCES.
 */
export function prepareDisk(folder: string): Disk {
  mkdirSync(folder, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=0755`, 'tmpfs', folder], {
      stdio: 'ignore',
    });
  } catch {
    return readOnlyFolders(join(folder, 'blobs'));
  }
  const ballast = join(folder, 'ballast');
  return {
    description: 'a tmpfs without free bytes, for blobs and Redises',
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

function readOnlyFolders(blobs: string): Disk {
  const folders = () => [blobs, join(blobs, 'checkpoints'), join(blobs, 'policies')];
  const change = (mode: number) => {
    for (const path of folders()) if (statSync(path, { throwIfNoEntry: false })) chmodSync(path, mode);
  };
  return {
    description: 'read-only folders of blobs (this process may not mount a file system)',
    fill: () => change(0o555),
    free: () => change(0o755),
    remove: () => change(0o755),
  };
}
