import { readFileSync } from 'node:fs';
import { type IncomingMessage, type ServerOptions, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../../config/config.ts';
import { ProblemError, problemOf } from '../../contract/problem.ts';
import { chooseRequestId } from './request-log.ts';

/** Time for the request line and the headers, counted from the opening of the connection. */
const HEADERS_TIMEOUT_SECONDS = 20;
/** Interval at which Node looks for requests that are too slow. */
const TIMEOUT_CHECK_MS = 1000;
/** Files that the process needs for Redis, storage, webhooks and threads. */
const RESERVED_FILES = 200;
/** Shortest time between two log lines about refused connections. */
const DROP_LOG_INTERVAL_MS = 60_000;
/** How long a connection stays open after its last response, so that the client can read it. */
const LINGER_MS = 1000;

/** Options of Node's HTTP server. */
export function serverOptions({ requestSeconds }: Pick<Config, 'requestSeconds'>): ServerOptions {
  return {
    headersTimeout: Math.min(HEADERS_TIMEOUT_SECONDS, requestSeconds) * 1000,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    // Node would answer without a problem; `hardenHttp` checks the Host header.
    requireHostHeader: false,
  };
}

/**
 * Refuses requests that Node would answer itself or let pass: a missing or repeated Host, an
 * unknown Expect, an encoded body. Limits the number of connections. The hooks run for every
 * request, so they use callbacks instead of promises.
 */
export const hardenHttp = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const hosts = countHosts(raw.rawHeaders);
    const isHttp10 = raw.httpVersionMinor === 0; // HTTP/1.0 has no Host header
    if (hosts !== 1 && !(hosts === 0 && isHttp10))
      return done(
        new ProblemError('bad-request', `The request has ${hosts} Host headers; it needs exactly one.`),
      );
    const encoding = raw.headers['content-encoding'];
    if (encoding === undefined || encoding.toLowerCase() === 'identity') return done();
    reply.header('accept-encoding', 'identity');
    const name = encoding.slice(0, 80);
    const detail = `The body is encoded as "${name}". Send it without Content-Encoding.`;
    done(new ProblemError('unsupported-media-type', detail));
  });
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (!raw.complete) answeredEarly.add(raw);
    done();
  });
  limitConnections(app);
  app.server.on('checkExpectation', (request, response) => {
    // The client waits for this response before it sends the body, which is never read.
    response.shouldKeepAlive = false;
    const problem = problemOf(
      new ProblemError(
        'expectation-failed',
        `The Expect header is "${String(request.headers.expect).slice(0, 80)}"; ` +
          'this service knows only 100-continue.',
      ),
      chooseRequestId(request.headers['x-request-id']),
    );
    response.writeHead(problem.status, headersOf(problem));
    response.end(JSON.stringify(problem));
  });
});

/** Headers of a problem that is sent past Fastify. */
const headersOf = ({ requestId }: ReturnType<typeof problemOf>) => ({
  'content-type': 'application/problem+json',
  'x-request-id': requestId,
  'x-content-type-options': 'nosniff',
});

/** Without free file descriptors, neither storage nor Redis could be reached. */
function limitConnections({ server, log }: FastifyInstance): void {
  const max = maxConnections(readProcessLimits());
  if (max === null) return;
  server.maxConnections = max;
  let loggedAt = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (performance.now() - loggedAt < DROP_LOG_INTERVAL_MS) return;
    loggedAt = performance.now();
    log.warn({ max }, 'connections are refused: the limit of open files (ulimit -n) allows no more');
  });
}

/**
 * The number of connections that leaves the process the files it needs.
 * @param limits the text of /proc/self/limits
 * @returns null where there is no limit
 */
export function maxConnections(limits: string): number | null {
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  if (soft === undefined) return null;
  return Math.max(Number(soft) - RESERVED_FILES, Math.floor(Number(soft) / 2));
}

function readProcessLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return ''; // not on Linux
  }
}

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i].length === 4 && rawHeaders[i].toLowerCase() === 'host') count++;
  return count;
}

/** Requests that were answered before their whole body had arrived. */
const answeredEarly = new WeakSet<IncomingMessage>();

/**
 * Node's internal state of a connection: the response that is sent next, and the request that is
 * being read.
 */
type HttpSocket = Socket & {
  readonly _httpMessage?: ServerResponse | null;
  readonly parser?: { readonly incoming?: IncomingMessage | null } | null;
};

/**
 * Decides about a connection on which a request broke off. `answer`: send a problem. `wait`: an
 * earlier, complete request on the connection has not had its response yet. `end`: the broken
 * request already has its response, or a part of it.
 */
function decideFate({ _httpMessage: next, parser }: HttpSocket): 'answer' | 'wait' | 'end' {
  const incoming = parser?.incoming;
  const broken = incoming && !incoming.complete ? incoming : null;
  if (broken && answeredEarly.has(broken)) return 'end';
  if (!next) return 'answer';
  if (next.req !== broken) return 'wait';
  return next.headersSent ? 'end' : 'answer';
}

/**
 * Answers bytes that are not HTTP, headers that are too large and requests that are too slow;
 * closes the connection.
 */
export function answerBrokenRequest(
  this: { readonly log: FastifyBaseLogger },
  error: Error,
  socket: Socket,
): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || socket.destroyed) return;
  this.log.debug({ code }, 'broken request');
  const { _httpMessage: next } = socket as HttpSocket;
  const fate = socket.writable ? decideFate(socket as HttpSocket) : 'end';
  if (fate === 'end') return void socket.destroy();
  if (fate === 'wait') {
    socket.pause(); // bytes after a broken request belong to no request
    return void next?.once('close', () => socket.destroySoon());
  }
  const problem = problemOf(describeBrokenRequest(code), chooseRequestId(undefined));
  const body = JSON.stringify(problem);
  const headers = { ...headersOf(problem), 'content-length': Buffer.byteLength(body), connection: 'close' };
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ].join('\r\n');
  socket.end(`${head}\r\n\r\n${body}`);
  // Destroying the socket while bytes of the client are unread would reset the connection
  // before the client has read the response.
  const end = () => socket.destroy();
  socket.resume().once('end', end);
  setTimeout(end, LINGER_MS).unref();
}

function describeBrokenRequest(code: string | undefined): ProblemError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ProblemError(
        'too-slow',
        `The request did not arrive in time: its headers have ${HEADERS_TIMEOUT_SECONDS} s, ` +
          'the whole request has FINDERY_REQUEST_SECONDS.',
      );
    case 'HPE_HEADER_OVERFLOW':
      return new ProblemError(
        'headers-too-large',
        'The request line and the headers are larger than 16384 bytes together.',
      );
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ProblemError(
        'too-large',
        "The extensions of the body's chunks are larger than 16384 bytes.",
      );
    default:
      return new ProblemError(
        'bad-request',
        'This is not an HTTP/1.1 request: its first line, its headers or its body violate RFC 9112.',
      );
  }
}
