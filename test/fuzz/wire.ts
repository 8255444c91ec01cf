import { connect, type Socket } from 'node:net';

/** One answer as it came over the wire. */
export interface Answer {
  readonly status: number;
  /** Names in lower case; `no-body` where the method has none (HEAD). */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** What was sent on a connection of its own, and what came of it. */
export interface Exchange {
  /** The beginning of it. */
  readonly sent: Buffer;
  readonly answers: readonly Answer[];
  /** How it ended: answered and still open, closed by the server, not even taken, nothing in time, or something that is no HTTP. */
  readonly end: 'answered' | 'closed' | 'refused' | 'timeout' | 'garbage';
  readonly milliseconds: number;
}

export interface Sending {
  /** What goes out: at once, or piece by piece, for as long as the other side takes it. */
  readonly bytes: string | Buffer | Iterable<Buffer> | AsyncIterable<Buffer>;
  /** Milliseconds until the server has to have answered or closed. */
  readonly patience?: number;
  /** Answers to wait for; then the connection is closed. */
  readonly answers?: number;
  /** Also listen on for so many milliseconds after the last of them: for answers that should not come. */
  readonly linger?: number;
}

/** Milliseconds in which an answer has to come that has nothing to wait for; generous, for machines that do other things too. */
export const PATIENCE = 15_000;

/** Sends bytes as they are, and reads answers until there are enough, the server closes, or time is over. */
export async function exchange(
  port: number,
  { bytes, patience = PATIENCE, answers: wanted = 1, linger = 0 }: Sending,
): Promise<Exchange> {
  const pieces =
    typeof bytes === 'string' ? [Buffer.from(bytes, 'latin1')] : Buffer.isBuffer(bytes) ? [bytes] : bytes;
  const began = performance.now();
  const socket = connect(port, '127.0.0.1');
  let isTaken = false;
  socket.once('connect', () => {
    isTaken = true;
  });
  socket.on('error', () => {}); // a reset is an end
  let received = Buffer.alloc(0);
  let sent = Buffer.alloc(0);
  const isHead = () => sent.subarray(0, 5).toString('latin1') === 'HEAD ';
  const closed = Promise.withResolvers<'closed'>();
  const enough = Promise.withResolvers<'answered'>();
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    if ((readAnswers(received, isHead())?.length ?? 0) >= wanted) enough.resolve('answered');
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
  const answers = readAnswers(received, isHead());
  if (answers === null) end = 'garbage';
  else if (!isTaken) end = 'refused';
  // Answered in part only, and cut: what is whole is judged.
  return { sent, answers: answers ?? [], end, milliseconds };
}

/** Resolves to whether it can go on. */
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

/** The whole answers in what was received; null where it is no HTTP. An interim one (100) counts for nothing. */
export function readAnswers(received: Buffer, isHead: boolean): Answer[] | null {
  const answers: Answer[] = [];
  for (let at = 0; at < received.length; ) {
    const headEnd = received.indexOf('\r\n\r\n', at);
    const [line, ...lines] = received
      .subarray(at, headEnd < 0 ? undefined : headEnd)
      .toString('latin1')
      .split('\r\n');
    const [, status] = /^HTTP\/1\.[01] (\d{3}) /.exec(line) ?? [];
    if (status === undefined) return 'HTTP/1.1 '.startsWith(line.slice(0, 9)) && headEnd < 0 ? answers : null;
    if (headEnd < 0) return answers;
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
    if (body === null) return answers;
    answers.push({ status: Number(status), headers, body: body.text });
    at = body.end;
  }
  return answers;
}

function readBody(
  received: Buffer,
  from: number,
  headers: ReadonlyMap<string, string>,
): { text: string; end: number } | null {
  if (headers.get('content-type')?.startsWith('text/event-stream')) {
    // It has no end; its first lines are an answer.
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
