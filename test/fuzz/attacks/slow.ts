import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Arena, type Attack, attack, each, isWell, request } from '../arena.ts';

/** Milliseconds beyond the server's own time that a slow machine may take to end what is too slow. */
const GRACE = 15_000;
/** Connections that are opened at a time: the queue of what is not accepted yet is short. */
const AT_A_TIME = 250;

/** Those who hold connections and send little or nothing. */
export const slow: Attack = {
  name: 'slow and silent clients',
  async run(arena) {
    const patience = arena.target.requestSeconds * 1000 + GRACE;
    await Promise.all([...drips(arena, patience), idle(arena, patience)]);
    await followers(arena);
    await gone(arena);
    await isWell(arena, 'after all slow clients');
  },
};

/** A byte in each quarter of a second, without end. */
async function* drip(head: Buffer, piece: string): AsyncGenerator<Buffer> {
  yield head;
  for (;;) {
    await sleep(250);
    yield Buffer.from(piece);
  }
}

function drips(arena: Arena, patience: number): Promise<unknown>[] {
  const post = (path: string, ...headers: string[]) => request(arena, 'POST', path, { headers });
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
      'where no body is taken',
      post(`/v1/jobs/${arena.things.jobs}/pause`, bytes, 'Content-Length: 60000'),
      'a',
    ],
  ];
  return cases.map(([name, head, piece]) =>
    attack(arena, `drips: ${name}`, { bytes: drip(head, piece), patience }),
  );
}

/** Thousands that connect and say nothing: all are let go, and others are served meanwhile. */
async function idle(arena: Arena, patience: number): Promise<void> {
  const { idle: count } = arena.scale;
  const sockets = await open(arena, count);
  const refused = sockets.filter(({ destroyed, bytesRead }) => destroyed && bytesRead === 0).length;
  await isWell(arena, `beside ${count} silent connections`);
  const began = performance.now();
  while (sockets.some(({ destroyed }) => !destroyed) && performance.now() - began < patience)
    await sleep(100);
  const left = sockets.filter(({ destroyed }) => !destroyed).length;
  arena.tally.check(
    left === 0,
    'silent connections are let go',
    'idle connections',
    `${left} of ${count} are still open after ${patience} ms`,
  );
  if (refused > 0) arena.say(`  ${refused} of ${count} silent connections were refused at once`);
  for (const socket of sockets) socket.destroy();
}

async function open({ target }: Arena, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  await each(
    Array.from({ length: count }),
    () =>
      new Promise<void>((resolve) => {
        const socket = connect(target.port, '127.0.0.1');
        sockets.push(socket);
        socket.on('error', () => {}).on('data', () => {}); // a farewell is read, so that the end is seen
        socket.once('connect', resolve).once('close', () => resolve());
      }),
    AT_A_TIME,
  );
  return sockets;
}

/** Event streams of a job that waits, whose clients read nothing and then vanish. */
async function followers(arena: Arena): Promise<void> {
  const { scale } = arena;
  const sockets = await open(arena, scale.followers);
  const bytes = request(arena, 'GET', `/v1/jobs/${arena.things.jobs}/events`);
  for (const socket of sockets) {
    socket.pause();
    socket.write(bytes);
  }
  await sleep(1000);
  await isWell(arena, `beside ${scale.followers} followers who read nothing`);
  for (const [i, socket] of sockets.entries()) i % 2 === 0 ? socket.resetAndDestroy() : socket.destroy();
  await sleep(500);
}

/** Clients that go away in the middle of a request, or while their answer is held back. */
async function gone(arena: Arena): Promise<void> {
  const { chance } = arena;
  const whole = [
    request(arena, 'GET', `/v1/jobs/${arena.things.jobs}`, { headers: ['Prefer: wait=60'] }),
    request(arena, 'POST', '/v1/samples', {
      headers: ['Prefer: wait=60'],
      body: '{"prompt": "a dog", "priority": "low"}',
    }),
    request(arena, 'GET', `/v1/images/${arena.things.images}?width=2048`),
    request(arena, 'GET', `/v1/jobs/${arena.things.jobs}/rewards?format=png`),
    request(arena, 'POST', '/v1/jobs', { headers: ['Content-Length: 50000'], body: '{"prompt": ' }),
    request(arena, 'POST', '/v1/policies?prompt=a', {
      headers: ['Content-Type: application/octet-stream', 'Content-Length: 50000'],
      body: 'abc',
    }),
  ];
  const all = Array.from(
    { length: 60 },
    (_, i) => [whole[i % whole.length], chance.fraction(), chance.between(0, 100)] as const,
  );
  await each(all, async ([bytes, share, wait]) => {
    const [socket] = await open(arena, 1);
    // Every other one all of it; the others a part.
    socket.write(share < 0.5 ? bytes : bytes.subarray(0, Math.ceil(bytes.length * share)));
    await sleep(wait);
    socket.resetAndDestroy();
  });
}
