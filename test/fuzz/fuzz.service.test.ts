import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Chance } from '../chaos/chance.ts';
import { readOperations, type Scale } from './arena.ts';
import { ATTACKS, compareGauges } from './by-hand.ts';
import { Tally } from './tally.ts';
import { type Gauge, startTarget, type Target } from './target.ts';
import type { Things } from './things.ts';

/** A short round of what `npm run fuzz` does by hand; each run has a seed of its own. */
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 32);
const SCALE: Scale = {
  idle: 300,
  followers: 50,
  bodyBytes: 100 * 2 ** 20,
  mutations: 150,
  idsEach: 6,
};

let folder: string;
let target: Target;
let things: Things;
let before: Gauge;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-fuzz-log-'));
  target = await startTarget({ folder, requestSeconds: 4, worker: false });
  things = await target.furnish();
  before = await target.gauge();
});
afterAll(async () => {
  await target?.close();
  await rm(folder, { recursive: true, force: true });
});

describe(`an API under hostile requests (FUZZ_SEED=${SEED})`, () => {
  it.each(ATTACKS.map((attack) => [attack.name, attack] as const))('%s', async (_name, attack) => {
    const tally = new Tally();
    const operations = await readOperations();
    await attack.run({
      target,
      things,
      tally,
      chance: new Chance(SEED),
      operations,
      scale: SCALE,
      say: () => {},
    });
    expect(tally.failures).toEqual([]);
    expect([...tally.statuses.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(10);
  });

  it('is the same process afterwards, has logged no error, and holds no more than before', async () => {
    const tally = new Tally();
    // The first bodies of 100 MiB fill the allocator's pools; `npm run fuzz` looks at what a second round adds to that.
    compareGauges(tally, before, await target.gauge(), 300 * 2 ** 20);
    expect(tally.failures).toEqual([]);
    expect(target.complaints()).toEqual([]);
  });
});
