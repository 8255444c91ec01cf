import type { FastifyReply, FastifyRequest } from 'fastify';
import { abortedWith } from '../../abort.ts';
import { ProblemError } from '../../contract/problem.ts';

/** The longest time for which a response is held. */
const MAX_WAIT_SECONDS = 60;

/**
 * How long the client lets the response be held: `Prefer: wait` or `wait=SECONDS` (RFC 7240).
 * The time that is granted goes into `Preference-Applied`.
 * @returns milliseconds; 0 without the preference
 */
export function preferredWait(request: FastifyRequest, reply: FastifyReply): number {
  const { prefer } = request.headers;
  if (prefer === undefined) return 0;
  const header = [prefer].flat().join(',');
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,6})"?)?(?=$|[,;\s])/i.exec(header);
  if (!match) return 0;
  const seconds = Math.min(MAX_WAIT_SECONDS, match[1] === undefined ? MAX_WAIT_SECONDS : Number(match[1]));
  reply.header('preference-applied', `wait=${seconds}`);
  return seconds * 1000;
}

/**
 * Reads a record, and waits until it is as wanted, the time is over, the client disconnects or the
 * server closes.
 * @param milliseconds how long to wait; 0 reads once
 * @returns the record as it is then
 * @throws ProblemError `unauthorized` when the key stops being valid meanwhile
 */
export async function readWhen<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  {
    id,
    milliseconds,
    read,
    isReached,
  }: {
    readonly id: string;
    readonly milliseconds: number;
    readonly read: () => Promise<T>;
    readonly isReached: (record: T) => boolean;
  },
): Promise<T> {
  if (milliseconds > 0) {
    const readReached = async () => {
      const record = await read();
      return isReached(record) ? record : null;
    };
    const signal = holdSignal(request, reply);
    await request.store.changes.waitFor(id, milliseconds, readReached, signal);
    if (signal.reason instanceof ProblemError) throw signal.reason;
  }
  return read();
}

/**
 * How long an answer may stay open: aborted when the client disconnects, when the server closes,
 * and within seconds after the key of the request stopped being valid (with a ProblemError).
 */
export function holdSignal(request: FastifyRequest, { raw }: FastifyReply): AbortSignal {
  const { services, keyWatch } = request.server;
  const controller = abortedWith(services.closing);
  const endWatch = keyWatch.watch(request, controller);
  controller.signal.addEventListener('abort', endWatch, { once: true });
  const abort = () => controller.abort();
  raw.once('close', abort);
  raw.on('error', abort);
  if (raw.destroyed) abort();
  return controller.signal;
}
