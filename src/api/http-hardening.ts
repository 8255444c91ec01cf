import { readFileSync } from 'node:fs';
import { type IncomingMessage, type ServerOptions, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config/config.ts';
import { ProblemError, problemOf } from '../contract/problem.ts';
import { requestId } from './request-log.ts';

/** Seconds in which the first line and the headers of a request have to arrive; also the first byte on a new connection. */
const HEADER_SECONDS = 20;
/** Milliseconds between looks for connections that are too slow. */
const LOOK = 1000;
/** Files that the process needs beside its connections: Redis, blobs, webhooks, threads. */
const FILES_KEPT = 200;
/** Milliseconds between two words in the log about connections that were refused. */
const TELL_EVERY = 60_000;
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

/**
 * What would be answered in node's own way, or be taken for something else: a Host that is missing or not the only one, an Expect that
 * nobody meets, a body that is packed. Its hooks run for every request, so they are no promises.
 */
export const hardenHttp = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const hosts = countHosts(raw.rawHeaders);
    if (hosts !== 1 && (hosts !== 0 || raw.httpVersionMinor !== 0))
      return done(
        new ProblemError('bad-request', `The request has ${hosts} Host headers; it takes exactly one.`),
      );
    const encoding = raw.headers['content-encoding'];
    if (encoding === undefined || encoding.toLowerCase() === 'identity') return done();
    reply.header('accept-encoding', 'identity');
    const told = `The body is encoded as "${encoding.slice(0, 80)}"; bodies are read as they are, without Content-Encoding.`;
    done(new ProblemError('unsupported-media-type', told));
  });
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (!raw.complete) answered.add(raw);
    done();
  });
  limitConnections(app);
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
    response.writeHead(problem.status, headersOf(problem));
    response.end(JSON.stringify(problem));
  });
});

/** Of a problem that does not go through fastify. */
const headersOf = ({ requestId }: ReturnType<typeof problemOf>) => ({
  'content-type': 'application/problem+json',
  'x-request-id': requestId,
  'x-content-type-options': 'nosniff',
});

/** Clients take no more files than they may: without any left, storage and Redis could not be reached either. */
function limitConnections({ server, log }: FastifyInstance): void {
  const most = maxConnections(readLimits());
  if (most === null) return;
  server.maxConnections = most;
  let told = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    if (performance.now() - told < TELL_EVERY) return;
    told = performance.now();
    log.warn(
      { most },
      'connections are refused: as many as the limit of open files (ulimit -n) allows for are there',
    );
  });
}

/**
 * Connections that leave the process the files it needs.
 * @param limits the text of /proc/self/limits
 * @returns null where there is no limit
 */
export function maxConnections(limits: string): number | null {
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? null : Math.max(Number(soft) - FILES_KEPT, Math.floor(Number(soft) / 2));
}

function readLimits(): string {
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

/** Requests that were answered before all of their body had come. */
const answered = new WeakSet<IncomingMessage>();

/** What node's server notes on a connection: the answer that is next to go out, and the request that is being read. */
type HttpSocket = Socket & {
  readonly _httpMessage?: ServerResponse | null;
  readonly parser?: { readonly incoming?: IncomingMessage | null } | null;
};

/**
 * What is to become of a connection on which a request broke off: `answer` it; `wait` until the request before it, which is whole, has its
 * own answer; or just `end` it, because this one has its answer, or a part of it.
 */
function judge({ _httpMessage: next, parser }: HttpSocket): 'answer' | 'wait' | 'end' {
  const incoming = parser?.incoming;
  const broken = incoming && !incoming.complete ? incoming : null;
  if (broken && answered.has(broken)) return 'end';
  if (!next) return 'answer';
  if (next.req !== broken) return 'wait';
  return next.headersSent ? 'end' : 'answer';
}

/** Answers what is no HTTP, has headers without end, or comes too slowly, and ends the connection. */
export function answerBroken(this: { readonly log: FastifyBaseLogger }, error: Error, socket: Socket): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || socket.destroyed) return;
  this.log.debug({ code }, 'broken request');
  const { _httpMessage: next } = socket as HttpSocket;
  const fate = socket.writable ? judge(socket as HttpSocket) : 'end';
  if (fate === 'end') return void socket.destroy();
  if (fate === 'wait') {
    // Nothing more is read: what would come is no request.
    socket.pause();
    return void next?.once('close', () => socket.destroySoon());
  }
  const problem = problemOf(explain(code), requestId(undefined));
  const body = JSON.stringify(problem);
  const headers = { ...headersOf(problem), 'content-length': Buffer.byteLength(body), connection: 'close' };
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
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
      return new ProblemError(
        'too-large',
        'The chunks of the body have extensions of more than 16384 bytes.',
      );
    default:
      return new ProblemError(
        'bad-request',
        'This is no HTTP/1.1 request: its first line, its headers or its body break the rules of RFC 9112.',
      );
  }
}
