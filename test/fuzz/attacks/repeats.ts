import { newId } from '../../../src/contract/ids.ts';
import { type Arena, type Attack, attack, each, isWell, request } from '../arena.ts';

const AT_ONCE = 50;

/** The same request many times at once, and others under its name. */
export const repeats: Attack = {
  name: 'repeated requests',
  async run(arena) {
    await sameKey(arena);
    await sameId(arena);
    await pipelined(arena);
    await isWell(arena, 'after all repeats');
  },
};

/** 50 POSTs with one idempotency key are one job; the same key with another body is refused. */
async function sameKey(arena: Arena): Promise<void> {
  const key = `key ${arena.chance.between(0, 1e9)}`;
  const post = (body: object, idempotencyKey: string) =>
    request(arena, 'POST', '/v1/jobs', {
      headers: [`Idempotency-Key: ${idempotencyKey}`],
      body: JSON.stringify(body),
    });
  const body = { prompt: 'a green dog', seed: 7, priority: 'low' };
  const ids = new Set<string>();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const { answers } = await attack(arena, 'idempotency: one key', post(body, key), [202]);
      if (answers[0]?.status === 202) ids.add((JSON.parse(answers[0].body) as { id: string }).id);
    }),
  );
  arena.tally.check(
    ids.size === 1,
    'one idempotency key, one job',
    `${AT_ONCE} POSTs at once`,
    `${ids.size} jobs`,
  );
  await attack(arena, 'idempotency: another body', post({ ...body, seed: 8 }, key), [422]);
  // 50 bodies under one new key: whichever is first stands, all others are refused.
  const made = new Set<string>();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, seed) => {
      const { answers } = await attack(
        arena,
        'idempotency: many bodies',
        post({ ...body, seed }, `${key} b`),
        [202, 422],
      );
      if (answers[0]?.status === 202) made.add((JSON.parse(answers[0].body) as { id: string }).id);
    }),
  );
  arena.tally.check(
    made.size === 1,
    'one idempotency key, one job',
    `${AT_ONCE} different POSTs at once`,
    `${made.size} jobs`,
  );
  // With a number that makes them our own: a machine that tries all sorts of keys tries these, too, with another body.
  const own = arena.chance.between(0, 1e9);
  const odd = ['"', 'a\tb', '\u00e9'.repeat(200), '\u00ff', '__proto__', '*', 'a\\nb', 'a'.repeat(240)];
  await each(
    ['', ' ', ...odd.map((name) => name + own), ...odd.slice(0, -1).map((name) => own + name)],
    (name) =>
      attack(
        arena,
        `idempotency: the key ${JSON.stringify(name).slice(0, 20)}`,
        post(body, name),
        [202, 400],
      ),
  );
}

async function sameId(arena: Arena): Promise<void> {
  const id = newId('job');
  const put = (seed: number) =>
    request(arena, 'PUT', `/v1/jobs/${id}`, {
      body: JSON.stringify({ prompt: 'a dog', seed, priority: 'low' }),
    });
  const seeds = new Set<number>();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, i) => {
      const { answers } = await attack(arena, 'PUT: one id, two bodies', put(i % 2), [202, 422]);
      if (answers[0]?.status === 202) seeds.add((JSON.parse(answers[0].body) as { seed: number }).seed);
    }),
  );
  arena.tally.check(
    seeds.size === 1,
    'one id, one job',
    `${AT_ONCE} PUTs at once`,
    `${seeds.size} bodies were taken`,
  );
  const { jobs, policies } = arena.things;
  const steps = ['pause', 'resume', 'cancel', 'retry'].flatMap((step) =>
    Array.from({ length: 10 }, () => `/v1/jobs/${id}/${step}`),
  );
  await Promise.all(
    steps.map((path) =>
      attack(arena, `at once: ${path.split('/').at(-1)}`, request(arena, 'POST', path), [200, 202, 409]),
    ),
  );
  const reads = [`/v1/jobs/${jobs}`, `/v1/policies/${policies}`, `/v1/policies/${policies}/parameters`];
  await each(
    Array.from({ length: 60 }, (_, i) => reads[i % reads.length]),
    (path) => attack(arena, 'at once: reads', request(arena, 'GET', path), [200]),
    60,
  );
}

/** Many requests in one packet are answered in order. */
async function pipelined(arena: Arena): Promise<void> {
  const count = 100;
  const bytes = Buffer.concat(Array.from({ length: count }, () => request(arena, 'GET', '/v1/jobs?limit=1')));
  const { answers } = await attack(
    arena,
    'pipelined requests',
    { bytes, answers: count, patience: 60_000 },
    [200],
  );
  arena.tally.check(
    answers.length === count,
    'every request is answered',
    'pipelined requests',
    `${answers.length} of ${count}`,
  );
}
