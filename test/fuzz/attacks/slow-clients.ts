import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Attack,
  type AttackContext,
  checkStillServing,
  forEachConcurrently,
  request,
  sendAndCheck,
} from '../attack.ts';

/** Time beyond the server's time-out that a busy machine may take to close a slow connection. */
const GRACE_MS = 15_000;
/** Connections that are opened at the same time. The listen queue of the server is short. */
const CONCURRENT_CONNECTS = 250;

/** Clients that hold connections and send little or nothing. */
export const slowClients: Attack = {
  name: 'slow and silent clients',
  async run(context) {
    const timeoutMs = context.target.requestSeconds * 1000 + GRACE_MS;
    await Promise.all([...drips(context, timeoutMs), idle(context, timeoutMs)]);
    await followers(context);
    await disconnects(context);
    await checkStillServing(context, 'after all slow clients');
  },
};

/** A head, and then a piece every 250 ms without end. */
async function* drip(head: Buffer, piece: string): AsyncGenerator<Buffer> {
  yield head;
  for (;;) {
    await sleep(250);
    yield Buffer.from(piece);
  }
}

/** Requests that arrive too slowly, in each of their parts. */
function drips(context: AttackContext, timeoutMs: number): Promise<unknown>[] {
  const post = (path: string, ...headers: string[]) => request(context, 'POST', path, { headers });
  const json = 'Content-Type: application/json';
  const bytes = 'Content-Type: application/octet-stream';
  const cases: [name: string, head: Buffer, piece: string][] = [
    ['a first line', Buffer.from('GET /v1/'), 'a'],
    ['headers', Buffer.from('GET /healthz HTTP/1.1\r\nHost: a\r\n'), 'X: a\r\n'],
    ['a body', post('/v1/jobs', json, 'Content-Length: 60000'), ' '],
    ['a body in chunks', post('/v1/jobs', json, 'Transfer-Encoding: chunked'), '1\r\n \r\n'],
    ['a policy file', post('/v1/policies?prompt=a', bytes, 'Content-Length: 60000'), 'a'],
    [
      'extensions of a chunk',
      Buffer.concat([post('/v1/jobs', json, 'Transfer-Encoding: chunked'), Buffer.from('1;')]),
      'a',
    ],
    [
      'trailers',
      Buffer.concat([post('/v1/jobs', json, 'Transfer-Encoding: chunked'), Buffer.from('0\r\n')]),
      'X: a\r\n',
    ],
    [
      'an operation without a body',
      post(`/v1/jobs/${context.resources.jobs}/pause`, bytes, 'Content-Length: 60000'),
      'a',
    ],
  ];
  return cases.map(([name, head, piece]) =>
    sendAndCheck(context, `drips: ${name}`, { bytes: drip(head, piece), timeoutMs }),
  );
}

/**
 * Thousands of silent connections: the server closes all of them and serves other clients
 * meanwhile.
 */
async function idle(context: AttackContext, timeoutMs: number): Promise<void> {
  const { idle: count } = context.scale;
  const sockets = await open(context, count);
  const refused = sockets.filter(({ destroyed, bytesRead }) => destroyed && bytesRead === 0).length;
  await checkStillServing(context, `beside ${count} silent connections`);
  const began = performance.now();
  while (sockets.some(({ destroyed }) => !destroyed) && performance.now() - began < timeoutMs)
    await sleep(100);
  const left = sockets.filter(({ destroyed }) => !destroyed).length;
  context.findings.check(
    left === 0,
    'silent connections are closed',
    'idle connections',
    `${left} of ${count} are still open after ${timeoutMs} ms`,
  );
  if (refused > 0) context.log(`  ${refused} of ${count} silent connections were refused at once`);
  for (const socket of sockets) socket.destroy();
}

/** Opens connections that send nothing. */
async function open({ target }: AttackContext, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  await forEachConcurrently(
    Array.from({ length: count }),
    () =>
      new Promise<void>((resolve) => {
        const socket = connect(target.port, '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => {}).on('data', () => {}); // reading lets the socket notice the end
        socket.once('connect', resolve).once('close', () => resolve());
      }),
    CONCURRENT_CONNECTS,
  );
  return sockets;
}

/** Event streams of a queued job whose clients do not read and then disappear. */
async function followers(context: AttackContext): Promise<void> {
  const { scale } = context;
  const sockets = await open(context, scale.followers);
  const bytes = request(context, 'GET', `/v1/jobs/${context.resources.jobs}/events`);
  for (const socket of sockets) {
    socket.pause();
    socket.write(bytes);
  }
  await sleep(1000);
  await checkStillServing(context, `beside ${scale.followers} followers that do not read`);
  for (const [i, socket] of sockets.entries()) i % 2 === 0 ? socket.resetAndDestroy() : socket.destroy();
  await sleep(500);
}

/** Clients that disconnect in the middle of a request, or while they wait for a response. */
async function disconnects(context: AttackContext): Promise<void> {
  const { random } = context;
  const requests = [
    request(context, 'GET', `/v1/jobs/${context.resources.jobs}`, { headers: ['Prefer: wait=60'] }),
    request(context, 'POST', '/v1/samples', {
      headers: ['Prefer: wait=60'],
      body: '{"prompt": "a dog", "priority": "low"}',
    }),
    request(context, 'GET', `/v1/images/${context.resources.images}?width=2048`),
    request(context, 'GET', `/v1/jobs/${context.resources.jobs}/rewards?format=png`),
    request(context, 'POST', '/v1/jobs', { headers: ['Content-Length: 50000'], body: '{"prompt": ' }),
    request(context, 'POST', '/v1/policies?prompt=a', {
      headers: ['Content-Type: application/octet-stream', 'Content-Length: 50000'],
      body: 'abc',
    }),
  ];
  const all = Array.from(
    { length: 60 },
    (_, i) => [requests[i % requests.length], random.next(), random.between(0, 100)] as const,
  );
  await forEachConcurrently(all, async ([bytes, share, wait]) => {
    const [socket] = await open(context, 1);
    // Half of them send the whole request, the others a part of it.
    socket.write(share < 0.5 ? bytes : bytes.subarray(0, Math.ceil(bytes.length * share)));
    await sleep(wait);
    socket.resetAndDestroy();
  });
}
