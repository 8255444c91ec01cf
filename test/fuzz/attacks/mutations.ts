import { type Arena, type Attack, attack, each, request } from '../arena.ts';

/** Good requests with bytes changed, doubled, cut out, or exchanged with those of others. */
export const mutations: Attack = {
  name: 'requests broken at random',
  async run(arena) {
    const whole = goodOnes(arena);
    const broken = Array.from({ length: arena.scale.mutations }, () => mutate(arena, whole));
    await each(broken, (bytes) =>
      // One that waits for the rest of it is as good as answered: `slow` sees to those.
      attack(arena, 'mutation', {
        bytes: whenDone(bytes),
        patience: arena.target.requestSeconds * 1000 + 15_000,
      }),
    );
  },
};

/** The bytes, and a moment later so much more that no request is left waiting for its rest for long. */
async function* whenDone(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
  await new Promise((resolve) => setTimeout(resolve, 50));
  yield Buffer.from(`${'\r\n'.repeat(4)}${'!'.repeat(2000)}\r\n\r\n`);
}

function goodOnes(arena: Arena): Buffer[] {
  const { things } = arena;
  const job = JSON.stringify({
    prompt: 'a dog',
    sampler: { steps: 2, width: 64 },
    metadata: { a: 'b' },
    reward: [{ name: 'jpeg-size', weight: 0.5 }],
    priority: 'low',
  });
  return [
    request(arena, 'GET', '/v1/jobs?limit=2&status=queued&metadata.a=b'),
    request(arena, 'GET', `/v1/jobs/${things.jobs}/rewards?format=csv&sigma=2`),
    request(arena, 'GET', `/v1/images/${things.images}?width=32`, {
      headers: ['Range: bytes=0-99', 'If-None-Match: "a"'],
    }),
    request(arena, 'POST', '/v1/jobs', { headers: ['Idempotency-Key: a'], body: job }),
    request(arena, 'POST', '/v1/samples', {
      body: JSON.stringify({ prompt: 'a dog', count: 2, bestOf: 4, priority: 'low' }),
    }),
    request(arena, 'PATCH', `/v1/webhook-endpoints/${things['webhook-endpoints']}`, {
      body: '{"description": "a", "events": ["job.failed"]}',
    }),
    request(arena, 'POST', '/v1/jobs', {
      headers: ['Transfer-Encoding: chunked', 'Content-Type: application/json'],
      body: `${job.length.toString(16)}\r\n${job}\r\n0\r\n\r\n`,
    }),
  ];
}

function mutate({ chance }: Arena, whole: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(chance.one(whole));
  const place = () => Math.floor(chance.between(0, bytes.length));
  for (let times = Math.ceil(chance.between(0, 6)); times > 0; times--) {
    const [from, to] = [place(), place()].sort((a, b) => a - b);
    switch (Math.floor(chance.between(0, 6))) {
      case 0:
        bytes[from] = Math.floor(chance.between(0, 256));
        break;
      case 1:
        bytes[from] ^= 1 << Math.floor(chance.between(0, 8));
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
        break;
      case 4:
        bytes = Buffer.concat([
          bytes.subarray(0, from),
          Buffer.from(chance.one(WORDS), 'latin1'),
          bytes.subarray(from),
        ]);
        break;
      default: {
        const other = chance.one(whole);
        bytes = Buffer.concat([
          bytes.subarray(0, from),
          other.subarray(Math.floor(chance.between(0, other.length))),
        ]);
      }
    }
  }
  return bytes;
}

const WORDS = [
  '\r\n',
  '\n',
  '\0',
  '"',
  '{',
  '[',
  '\\u0000',
  '\\ud800',
  '%00',
  '../',
  '1e400',
  '-1',
  'null',
  ': ',
  ',',
  '\xff',
  '0',
  '9'.repeat(50),
  ' '.repeat(100),
];
