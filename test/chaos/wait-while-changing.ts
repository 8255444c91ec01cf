import { setTimeout as sleep } from 'node:timers/promises';
import { FINAL_STATUSES, type Job } from '../../src/contract/schemas/job.ts';

/**
 * Time without any change after which unfinished work counts as lost. Longer than the delay after
 * five attempts.
 */
const STALL_TIMEOUT_MS = 180_000;

/** Waits until `fingerprint` returns null, or has not changed for `STALL_TIMEOUT_MS`. */
export async function waitWhileChanging(fingerprint: () => Promise<string | null>): Promise<void> {
  let latest = '';
  for (let changedAt = Date.now(); Date.now() - changedAt < STALL_TIMEOUT_MS; ) {
    const now = await fingerprint();
    if (now === null) return;
    if (now !== latest) changedAt = Date.now();
    latest = now;
    await sleep(500);
  }
}

/** A fingerprint of the unfinished jobs' progress; null: all jobs have ended. */
export function jobProgress(jobs: readonly Job[]): string | null {
  if (jobs.every(({ status }) => FINAL_STATUSES.includes(status))) return null;
  return JSON.stringify(jobs.map(({ status, attempts, progress }) => [status, attempts, progress]));
}
