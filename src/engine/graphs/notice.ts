import { parentPort } from 'node:worker_threads';
import type { Response } from '../messages.ts';

/** Tells whoever started the engine something that operators should know; the work goes on. */
export function notice(message: string): void {
  parentPort?.postMessage({ type: 'notice', message } satisfies Response);
}
