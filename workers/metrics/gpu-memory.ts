import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** The driver may take long when the card is busy. */
const QUERY_TIMEOUT_MS = 10_000;
const INTERVAL_MS = 15_000;
const MEBIBYTE = 2 ** 20;

/** Memory of a card, in bytes. */
export interface GpuMemory {
  /** By all processes. */
  readonly used: number;
  readonly total: number;
}

/**
 * Reads the memory of an NVIDIA card every 15 seconds, because nvidia-smi may take longer than a
 * scrape should.
 * @param device number of the card
 * @param program nvidia-smi
 */
export function watchGpuMemory(
  device: number,
  program = 'nvidia-smi',
): { readonly latest: () => GpuMemory | null; stop(): void } {
  let latest: GpuMemory | null = null;
  const read = async () => {
    const query = [`--id=${device}`, '--query-gpu=memory.used,memory.total', '--format=csv,noheader,nounits'];
    const answer = promisify(execFile)(program, query, { timeout: QUERY_TIMEOUT_MS });
    latest = await answer.then(({ stdout }) => parseGpuMemory(stdout)).catch(() => null);
  };
  void read();
  const timer = setInterval(read, INTERVAL_MS).unref();
  return { latest: () => latest, stop: () => clearInterval(timer) };
}

/** Used and total memory of nvidia-smi's first line, in MiB there; null: it does not say. */
export function parseGpuMemory(output: string): GpuMemory | null {
  const [, used, total] = /^\s*(\d+)\s*,\s*(\d+)\s*$/m.exec(output) ?? [];
  return used === undefined ? null : { used: Number(used) * MEBIBYTE, total: Number(total) * MEBIBYTE };
}
