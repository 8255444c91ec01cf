import { type Attack, type AttackContext, forEachConcurrently, request, sendAndCheck } from '../attack.ts';

/** Valid requests with bytes changed, repeated, removed, or replaced by those of other requests. */
export const mutations: Attack = {
  name: 'random mutations',
  async run(context) {
    const valid = validRequests(context);
    const broken = Array.from({ length: context.scale.mutations }, () => mutate(context, valid));
    await forEachConcurrently(broken, (bytes) =>
      // A mutation may make the server wait for more bytes; `slow-clients.ts` tests that time-out.
      sendAndCheck(context, 'mutation', {
        bytes: withTrailingBytes(bytes),
        timeoutMs: context.target.requestSeconds * 1000 + 15_000,
      }),
    );
  },
};

/** The bytes, and a moment later more of them, so that few requests stay incomplete. */
async function* withTrailingBytes(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
  await new Promise((resolve) => setTimeout(resolve, 50));
  yield Buffer.from(`${'\r\n'.repeat(4)}${'!'.repeat(2000)}\r\n\r\n`);
}

function validRequests(context: AttackContext): Buffer[] {
  const { resources } = context;
  const job = JSON.stringify({
    prompt: 'a dog',
    sampler: { steps: 2, width: 64 },
    metadata: { a: 'b' },
    reward: [{ name: 'jpeg-size', weight: 0.5 }],
    priority: 'low',
  });
  return [
    request(context, 'GET', '/v1/jobs?limit=2&status=queued&metadata.a=b'),
    request(context, 'GET', `/v1/jobs/${resources.jobs}/rewards?format=csv&sigma=2`),
    request(context, 'GET', `/v1/images/${resources.images}?width=32`, {
      headers: ['Range: bytes=0-99', 'If-None-Match: "a"'],
    }),
    request(context, 'POST', '/v1/jobs', { headers: ['Idempotency-Key: a'], body: job }),
    request(context, 'POST', '/v1/samples', {
      body: JSON.stringify({ prompt: 'a dog', count: 2, bestOf: 4, priority: 'low' }),
    }),
    request(context, 'PATCH', `/v1/webhook-endpoints/${resources['webhook-endpoints']}`, {
      body: '{"description": "a", "events": ["job.failed"]}',
    }),
    request(context, 'POST', '/v1/jobs', {
      headers: ['Transfer-Encoding: chunked', 'Content-Type: application/json'],
      body: `${job.length.toString(16)}\r\n${job}\r\n0\r\n\r\n`,
    }),
  ];
}

function mutate({ random }: AttackContext, valid: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(random.pick(valid));
  const position = () => Math.floor(random.between(0, bytes.length));
  for (let times = Math.ceil(random.between(0, 6)); times > 0; times--) {
    const [from, to] = [position(), position()].sort((a, b) => a - b);
    switch (Math.floor(random.between(0, 6))) {
      case 0:
        bytes[from] = Math.floor(random.between(0, 256));
        break;
      case 1:
        bytes[from] ^= 1 << Math.floor(random.between(0, 8));
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
          Buffer.from(random.pick(INSERTIONS), 'latin1'),
          bytes.subarray(from),
        ]);
        break;
      default: {
        const other = random.pick(valid);
        bytes = Buffer.concat([
          bytes.subarray(0, from),
          other.subarray(Math.floor(random.between(0, other.length))),
        ]);
      }
    }
  }
  return bytes;
}

/** Texts that are inserted at random positions. */
const INSERTIONS = [
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
