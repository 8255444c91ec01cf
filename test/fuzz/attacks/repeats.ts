import { newId } from '../../../src/contract/ids.ts';
import {
  type Attack,
  type AttackContext,
  checkStillServing,
  forEachConcurrently,
  request,
  sendAndCheck,
} from '../attack.ts';

/** Requests that are sent at the same time. */
const CONCURRENT = 50;

/** The same request many times at once, and other requests with its idempotency key or id. */
export const repeats: Attack = {
  name: 'repeated requests',
  async run(context) {
    await sameKey(context);
    await sameId(context);
    await pipelined(context);
    await checkStillServing(context, 'after all repeats');
  },
};

/** Requests with one idempotency key create one job; the same key with another body is refused. */
async function sameKey(context: AttackContext): Promise<void> {
  const key = `key ${context.random.between(0, 1e9)}`;
  const post = (body: object, idempotencyKey: string) =>
    request(context, 'POST', '/v1/jobs', {
      headers: [`Idempotency-Key: ${idempotencyKey}`],
      body: JSON.stringify(body),
    });
  const body = { prompt: 'a green dog', seed: 7, priority: 'low' };
  const ids = new Set<string>();
  await Promise.all(
    Array.from({ length: CONCURRENT }, async () => {
      const { responses } = await sendAndCheck(context, 'idempotency: one key', post(body, key), [202]);
      if (responses[0]?.status === 202) ids.add((JSON.parse(responses[0].body) as { id: string }).id);
    }),
  );
  context.findings.check(
    ids.size === 1,
    'one idempotency key, one job',
    `${CONCURRENT} POSTs at once`,
    `${ids.size} jobs`,
  );
  await sendAndCheck(context, 'idempotency: another body', post({ ...body, seed: 8 }, key), [422]);
  // Different bodies with one new key: the first one wins, the others are refused.
  const created = new Set<string>();
  await Promise.all(
    Array.from({ length: CONCURRENT }, async (_, seed) => {
      const { responses } = await sendAndCheck(
        context,
        'idempotency: many bodies',
        post({ ...body, seed }, `${key} b`),
        [202, 422],
      );
      if (responses[0]?.status === 202) created.add((JSON.parse(responses[0].body) as { id: string }).id);
    }),
  );
  context.findings.check(
    created.size === 1,
    'one idempotency key, one job',
    `${CONCURRENT} different POSTs at once`,
    `${created.size} jobs`,
  );
  // A random number makes these keys unique: Schemathesis may have used them with other bodies.
  const suffix = context.random.between(0, 1e9);
  const odd = ['"', 'a\tb', '\u00e9'.repeat(200), '\u00ff', '__proto__', '*', 'a\\nb', 'a'.repeat(240)];
  await forEachConcurrently(
    ['', ' ', ...odd.map((name) => name + suffix), ...odd.slice(0, -1).map((name) => suffix + name)],
    (name) =>
      sendAndCheck(
        context,
        `idempotency: the key ${JSON.stringify(name).slice(0, 20)}`,
        post(body, name),
        [202, 400],
      ),
  );
}

/**
 * Requests with one client-chosen id create one job; its transitions may be requested at the same
 * time.
 */
async function sameId(context: AttackContext): Promise<void> {
  const id = newId('job');
  const put = (seed: number) =>
    request(context, 'PUT', `/v1/jobs/${id}`, {
      body: JSON.stringify({ prompt: 'a dog', seed, priority: 'low' }),
    });
  const seeds = new Set<number>();
  await Promise.all(
    Array.from({ length: CONCURRENT }, async (_, i) => {
      const { responses } = await sendAndCheck(context, 'PUT: one id, two bodies', put(i % 2), [202, 422]);
      if (responses[0]?.status === 202) seeds.add((JSON.parse(responses[0].body) as { seed: number }).seed);
    }),
  );
  context.findings.check(
    seeds.size === 1,
    'one id, one job',
    `${CONCURRENT} PUTs at once`,
    `${seeds.size} bodies were accepted`,
  );
  const { jobs, policies } = context.resources;
  const steps = ['pause', 'resume', 'cancel', 'retry'].flatMap((step) =>
    Array.from({ length: 10 }, () => `/v1/jobs/${id}/${step}`),
  );
  await Promise.all(
    steps.map((path) =>
      sendAndCheck(
        context,
        `at once: ${path.split('/').at(-1)}`,
        request(context, 'POST', path),
        [200, 202, 409],
      ),
    ),
  );
  const reads = [`/v1/jobs/${jobs}`, `/v1/policies/${policies}`, `/v1/policies/${policies}/parameters`];
  await forEachConcurrently(
    Array.from({ length: 60 }, (_, i) => reads[i % reads.length]),
    (path) => sendAndCheck(context, 'at once: reads', request(context, 'GET', path), [200]),
    60,
  );
}

/** Requests in one packet are all answered. */
async function pipelined(context: AttackContext): Promise<void> {
  const count = 100;
  const bytes = Buffer.concat(
    Array.from({ length: count }, () => request(context, 'GET', '/v1/jobs?limit=1')),
  );
  const { responses } = await sendAndCheck(
    context,
    'pipelined requests',
    { bytes, responses: count, timeoutMs: 60_000 },
    [200],
  );
  context.findings.check(
    responses.length === count,
    'every request is answered',
    'pipelined requests',
    `${responses.length} of ${count}`,
  );
}
