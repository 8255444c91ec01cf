import type { FastifyReply, FastifyRequest } from 'fastify';

/** The longest that a request is held. */
const MOST_SECONDS = 60;

/**
 * `Prefer: wait` or `wait=SECONDS` (RFC 7240): how long the answer may be held, in milliseconds; 0 without it. What is applied
 * is told in `Preference-Applied`.
 */
export function preferredWait(request: FastifyRequest, reply: FastifyReply): number {
  const header = [request.headers.prefer ?? []].flat().join(',');
  const match = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,6})"?)?(?=$|[,;\s])/i.exec(header);
  if (!match) return 0;
  const seconds = Math.min(MOST_SECONDS, match[1] === undefined ? MOST_SECONDS : Number(match[1]));
  reply.header('preference-applied', `wait=${seconds}`);
  return seconds * 1000;
}

/** Aborted when the client goes away or the server closes: nobody waits for the answer any more. */
export function goneSignal(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, closing]);
}
