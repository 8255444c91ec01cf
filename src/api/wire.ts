import { type ServerOptions, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { ProblemError, problemOf } from '../jobs/problem.ts';
import { requestId } from './request-log.ts';

/** Seconds in which the first line and the headers of a request have to arrive; also the first byte on a new connection. */
const HEADER_SECONDS = 20;
/** Milliseconds between looks for connections that are too slow. */
const LOOK = 1000;
/** Milliseconds that a connection which was told why it ends is kept, so that its client gets to read it. */
const FAREWELL = 1000;

/** What node's HTTP server is made with. */
export function serverOptions({ requestSeconds }: Pick<Config, 'requestSeconds'>): ServerOptions {
  return {
    headersTimeout: Math.min(HEADER_SECONDS, requestSeconds) * 1000,
    connectionsCheckingInterval: LOOK,
    // It would answer without a problem; `wire` asks for it.
    requireHostHeader: false,
  };
}

/** What would be answered in node's own way, or be taken for something else: a Host that is missing or not the only one, an Expect that nobody meets, a body that is packed. */
export const wire = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', async ({ raw }, reply) => {
    const hosts = countHosts(raw.rawHeaders);
    if (hosts !== 1 && (hosts !== 0 || raw.httpVersionMinor !== 0))
      throw new ProblemError('bad-request', `The request has ${hosts} Host headers; it takes exactly one.`);
    const encoding = raw.headers['content-encoding'];
    if (encoding === undefined || encoding.toLowerCase() === 'identity') return;
    reply.header('accept-encoding', 'identity');
    throw new ProblemError(
      'unsupported-media-type',
      `The body is encoded as "${encoding.slice(0, 80)}"; bodies are read as they are, without Content-Encoding.`,
    );
  });
  app.server.on('checkExpectation', (request, response) => {
    // Its body, which waits for the answer, is not read.
    response.shouldKeepAlive = false;
    const problem = problemOf(
      new ProblemError(
        'expectation-failed',
        `The header Expect is "${String(request.headers.expect).slice(0, 80)}"; this service knows 100-continue alone.`,
      ),
      requestId(request.headers['x-request-id']),
    );
    response.writeHead(problem.status, {
      'content-type': 'application/problem+json',
      'x-request-id': problem.requestId,
    });
    response.end(JSON.stringify(problem));
  });
});

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i].length === 4 && rawHeaders[i].toLowerCase() === 'host') count++;
  return count;
}

/** Answers what is no HTTP, has headers without end, or comes too slowly, and ends the connection. */
export function answerBroken(this: { readonly log: FastifyBaseLogger }, error: Error, socket: Socket): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || socket.destroyed) return;
  this.log.debug({ code }, 'broken request');
  // An answer that is under way can't be mended by another one.
  const isAnswering = ((socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage ?? null)
    ?.headersSent;
  if (!socket.writable || isAnswering) return void socket.destroy();
  const problem = problemOf(explain(code), requestId(undefined));
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${problem.requestId}`,
    'x-content-type-options: nosniff',
    'connection: close',
  ].join('\r\n');
  socket.end(`${head}\r\n\r\n${body}`);
  // Destroyed at once, with bytes of the client still unread, the system would take the answer back.
  const end = () => socket.destroy();
  socket.resume().once('end', end);
  setTimeout(end, FAREWELL).unref();
}

function explain(code: string | undefined): ProblemError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ProblemError(
        'too-slow',
        `The request did not arrive in time: its headers have ${HEADER_SECONDS} s, all of it FINDERY_REQUEST_SECONDS.`,
      );
    case 'HPE_HEADER_OVERFLOW':
      return new ProblemError(
        'headers-too-large',
        'The first line and the headers of the request are larger than 16384 bytes together.',
      );
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ProblemError('too-large', 'The chunks of the body have extensions of more than 16384 bytes.');
    default:
      return new ProblemError(
        'bad-request',
        'This is no HTTP/1.1 request: its first line, its headers or its body break the rules of RFC 9112.',
      );
  }
}
