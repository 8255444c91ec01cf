import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import parseRange from 'range-parser';
import { ProblemError } from '../../contract/problem.ts';

/**
 * The return value of a handler whose JSON is text already, which Fastify then sends as it is.
 * Sending it through `reply.send` would make each request wait for the end of its response.
 */
export function jsonText<T>(reply: FastifyReply, text: string): T {
  reply.type('application/json; charset=utf-8');
  // Handlers are typed by the value of their JSON; this text is the JSON of a T.
  return text as unknown as T;
}

/**
 * Sends a file whose type is set already; the declared type of the response is that of its JSON
 * form.
 */
export function sendFile(reply: FastifyReply, body: string | Buffer): FastifyReply {
  return reply.send(body);
}

/** Characters up to which a text is sent as a whole. */
const MAX_WHOLE_LENGTH = 65_536;

/**
 * Sends a text whose type is set already, from its pieces. A long one is streamed as fast as the
 * client reads; a failure then breaks the connection off.
 * @throws what `pieces` throws before a long text begins
 */
export async function sendPieces(reply: FastifyReply, pieces: AsyncGenerator<string>): Promise<FastifyReply> {
  let first = '';
  while (first.length <= MAX_WHOLE_LENGTH) {
    const { done, value } = await pieces.next();
    if (done) return reply.send(first);
    first += value;
  }
  async function* all() {
    yield first;
    yield* pieces;
  }
  return reply.send(Readable.from(all(), { objectMode: false }));
}

/** `Cache-Control` of what never changes. */
const IMMUTABLE = 'private, max-age=31536000, immutable';
/** `Cache-Control` of what rarely changes: the client asks each time, with `If-None-Match`. */
export const REVALIDATED = 'private, no-cache';

/**
 * Sets the caching headers of a file.
 * @returns whether the client has it already: then answer 304
 */
export function isCached(
  request: FastifyRequest,
  reply: FastifyReply,
  etag: string,
  cacheControl = IMMUTABLE,
): boolean {
  reply.header('etag', etag).header('cache-control', cacheControl);
  return request.headers['if-none-match']?.includes(etag) ?? false;
}

/**
 * Removes what describes a content, from a response without one (204, 304). `ETag`, `Cache-Control`
 * and `Vary` are enough for a cache (RFC 9110, 8.6 and 15.4.5).
 */
export function removeContentHeaders(reply: FastifyReply): void {
  for (const name of ['type', 'length', 'encoding', 'language', 'range', 'disposition'])
    reply.removeHeader(`content-${name}`);
}

/**
 * Sends a file, or the part that a `Range` header asks for. Several ranges and malformed ones
 * get the whole file, as RFC 9110 (14.2) allows.
 * @throws ProblemError `range-not-satisfiable` when the range begins behind the end
 */
export function sendRange(request: FastifyRequest, reply: FastifyReply, bytes: Buffer): FastifyReply {
  const { range: header } = request.headers;
  const ranges = header ? parseRange(bytes.length, header) : -2;
  if (ranges === -1) {
    reply.header('content-range', `bytes */${bytes.length}`);
    throw new ProblemError(
      'range-not-satisfiable',
      `The range "${header}" lies outside the file, which has ${bytes.length} bytes.`,
    );
  }
  if (ranges === -2 || ranges.length !== 1 || ranges.type !== 'bytes') return reply.send(bytes);
  const [{ start, end }] = ranges;
  reply.code(206).header('content-range', `bytes ${start}-${end}/${bytes.length}`);
  return reply.send(bytes.subarray(start, end + 1));
}
