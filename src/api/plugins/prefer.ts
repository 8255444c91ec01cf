import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { abortedWith } from '../../abort.ts';

/** The longest that a request is held. */
const MOST_SECONDS = 60;

/**
 * `Prefer: wait` or `wait=SECONDS` (RFC 7240): how long the answer may be held, in milliseconds; 0 without it. What is applied
 * is told in `Preference-Applied`.
 */
export function preferredWait(request: FastifyRequest, reply: FastifyReply): number {
  const { prefer } = request.headers;
  if (prefer === undefined) return 0;
  const header = [prefer].flat().join(',');
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,6})"?)?(?=$|[,;\s])/i.exec(header);
  if (!match) return 0;
  const seconds = Math.min(MOST_SECONDS, match[1] === undefined ? MOST_SECONDS : Number(match[1]));
  reply.header('preference-applied', `wait=${seconds}`);
  return seconds * 1000;
}

/** Aborted when the client goes away or the server closes: nobody waits for the answer any more. */
export function goneSignal(raw: ServerResponse, closing: AbortSignal): AbortSignal {
  const gone = abortedWith(closing);
  const end = () => gone.abort();
  raw.once('close', end);
  raw.on('error', end);
  if (raw.destroyed) end();
  return gone.signal;
}
