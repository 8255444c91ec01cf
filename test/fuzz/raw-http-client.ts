import { connect, type Socket } from 'node:net';

/** A response as it was received. */
export interface RawResponse {
  readonly status: number;
  /** Headers by lower-case name. `no-body` marks a response without a body (HEAD, 204, 304). */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** One connection: what was sent and what was received. */
export interface Exchange {
  /** The first bytes that were sent, about 2000. */
  readonly sent: Buffer;
  readonly responses: readonly RawResponse[];
  /**
   * How it ended.
   * - `answered`: all expected responses arrived, and the connection was still open.
   * - `closed`: the server closed the connection.
   * - `refused`: the server did not accept the connection.
   * - `timeout`: nothing of that happened in time.
   * - `garbage`: the server sent bytes that are not HTTP.
   */
  readonly end: 'answered' | 'closed' | 'refused' | 'timeout' | 'garbage';
  /** Milliseconds until that end. */
  readonly milliseconds: number;
}

/** Bytes to send, and what to wait for. */
export interface RawRequest {
  /** The bytes: all at once, or in pieces as long as the server reads them. */
  readonly bytes: string | Buffer | Iterable<Buffer> | AsyncIterable<Buffer>;
  /** Time in which the server has to respond or close. */
  readonly timeoutMs?: number;
  /** Responses to wait for before closing the connection. Default: 1. */
  readonly responses?: number;
  /** Time to listen for further responses, which should not arrive. Default: 0. */
  readonly lingerMs?: number;
}

/** Time-out of a request that the server can answer at once. Generous, for a busy machine. */
export const DEFAULT_TIMEOUT_MS = 15_000;

/**
 * Sends bytes as they are on a new connection and reads responses until there are enough, or the
 * server closes, or time is over.
 */
export async function exchange(
  port: number,
  {
    bytes,
    timeoutMs: patience = DEFAULT_TIMEOUT_MS,
    responses: wanted = 1,
    lingerMs: linger = 0,
  }: RawRequest,
): Promise<Exchange> {
  const pieces =
    typeof bytes === 'string' ? [Buffer.from(bytes, 'latin1')] : Buffer.isBuffer(bytes) ? [bytes] : bytes;
  const began = performance.now();
  const socket = connect(port, '127.0.0.1');
  let isConnected = false;
  socket.once('connect', () => {
    isConnected = true;
  });
  socket.on('error', () => {}); // a reset also emits `close`
  let received = Buffer.alloc(0);
  let sent = Buffer.alloc(0);
  const isHead = () => sent.subarray(0, 5).toString('latin1') === 'HEAD ';
  const closed = Promise.withResolvers<'closed'>();
  const enough = Promise.withResolvers<'answered'>();
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    if ((parseResponses(received, isHead())?.length ?? 0) >= wanted) enough.resolve('answered');
  });
  socket.once('close', () => closed.resolve('closed'));
  const timeout = Promise.withResolvers<'timeout'>();
  const clock = setTimeout(() => timeout.resolve('timeout'), patience);
  const writing = (async () => {
    for await (const piece of pieces) {
      if (sent.length < 2000) sent = Buffer.concat([sent, piece]);
      if (!(await write(socket, piece))) return;
    }
  })();
  let end: Exchange['end'] = await Promise.race([closed.promise, enough.promise, timeout.promise]);
  const milliseconds = performance.now() - began;
  clearTimeout(clock);
  if (end === 'answered' && linger > 0) {
    let wait: NodeJS.Timeout | undefined;
    const over = new Promise((resolve) => {
      wait = setTimeout(resolve, linger);
    });
    await Promise.race([over, closed.promise]);
    clearTimeout(wait);
  }
  socket.destroy();
  await writing;
  const responses = parseResponses(received, isHead());
  if (responses === null) end = 'garbage';
  else if (!isConnected) end = 'refused';
  // An incomplete last response is dropped; the complete ones are checked.
  return { sent, responses: responses ?? [], end, milliseconds };
}

/** Writes and waits for the buffer to drain. False: the connection is closed. */
function write(socket: Socket, piece: Buffer): Promise<boolean> {
  if (socket.destroyed || !socket.writable) return Promise.resolve(false);
  if (socket.write(piece)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const settle = (canGoOn: boolean) => () => {
      socket.off('drain', drained).off('close', ended);
      resolve(canGoOn);
    };
    const drained = settle(true);
    const ended = settle(false);
    socket.once('drain', drained).once('close', ended);
  });
}

/**
 * Parses the complete responses in the received bytes, without interim ones (100).
 * @param isHead whether the request was HEAD, so that responses have no bodies
 * @returns null: the bytes are not HTTP
 */
export function parseResponses(received: Buffer, isHead: boolean): RawResponse[] | null {
  const responses: RawResponse[] = [];
  for (let at = 0; at < received.length; ) {
    const headEnd = received.indexOf('\r\n\r\n', at);
    const [line, ...lines] = received
      .subarray(at, headEnd < 0 ? undefined : headEnd)
      .toString('latin1')
      .split('\r\n');
    const [, status] = /^HTTP\/1\.[01] (\d{3}) /.exec(line) ?? [];
    if (status === undefined)
      return 'HTTP/1.1 '.startsWith(line.slice(0, 9)) && headEnd < 0 ? responses : null;
    if (headEnd < 0) return responses;
    const headers = new Map(
      lines.map((each) => [
        each.slice(0, each.indexOf(':')).toLowerCase(),
        each.slice(each.indexOf(':') + 1).trim(),
      ]),
    );
    at = headEnd + 4;
    if (status.startsWith('1')) continue;
    if (isHead || status === '204' || status === '304') headers.set('no-body', 'true');
    const body = headers.has('no-body') ? { text: '', end: at } : readBody(received, at, headers);
    if (body === null) return responses;
    responses.push({ status: Number(status), headers, body: body.text });
    at = body.end;
  }
  return responses;
}

function readBody(
  received: Buffer,
  from: number,
  headers: ReadonlyMap<string, string>,
): { text: string; end: number } | null {
  if (headers.get('content-type')?.startsWith('text/event-stream')) {
    // An event stream does not end. Its first event counts as the body.
    const text = received.subarray(from).toString('utf8');
    return text.includes('\n\n') ? { text, end: received.length } : null;
  }
  const length = headers.get('content-length');
  if (length !== undefined) {
    const end = from + Number(length);
    return end > received.length ? null : { text: received.subarray(from, end).toString('utf8'), end };
  }
  if (headers.get('transfer-encoding') !== 'chunked')
    return { text: received.subarray(from).toString('utf8'), end: received.length };
  const parts: Buffer[] = [];
  for (let at = from; ; ) {
    const lineEnd = received.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(received.subarray(at, lineEnd).toString('latin1'), 16);
    const end = lineEnd + 2 + size;
    if (end + 2 > received.length) return null;
    if (size === 0) return { text: Buffer.concat(parts).toString('utf8'), end: end + 2 };
    parts.push(received.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}
