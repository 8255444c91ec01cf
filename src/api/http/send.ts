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

/**
 * Sets the caching headers of a file that never changes.
 * @returns whether the client has it already: then answer 304
 */
export function isCached(request: FastifyRequest, reply: FastifyReply, etag: string): boolean {
  reply.header('etag', etag).header('cache-control', 'private, max-age=31536000, immutable');
  return request.headers['if-none-match']?.includes(etag) ?? false;
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
