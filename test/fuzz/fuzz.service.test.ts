import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SeededRandom } from '../support/seeded-random.ts';
import { readOperations, type Scale } from './attack.ts';
import { Findings } from './findings.ts';
import type { Resources } from './resources.ts';
import { ATTACKS, checkMemoryGrowth } from './run-attacks.ts';
import { type ProcessMemory, startTarget, type Target } from './target.ts';

/**
 * The hand-written attacks of `npm run fuzz` on a small scale. Each run has another seed; FUZZ_SEED
 * sets it.
 */
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
let resources: Resources;
let before: ProcessMemory;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'findery-fuzz-log-'));
  target = await startTarget({ folder, requestSeconds: 4, worker: false });
  resources = await target.createResources();
  before = await target.measureMemory();
});
afterAll(async () => {
  await target?.close();
  await rm(folder, { recursive: true, force: true });
});

describe(`an API under hostile requests (FUZZ_SEED=${SEED})`, () => {
  it.each(ATTACKS.map((attack) => [attack.name, attack] as const))('%s', async (_name, attack) => {
    const findings = new Findings();
    const operations = await readOperations();
    await attack.run({
      target,
      resources,
      findings,
      random: new SeededRandom(SEED),
      operations,
      scale: SCALE,
      log: () => {},
    });
    expect(findings.failures).toEqual([]);
    expect([...findings.statuses.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(10);
  });

  it('keeps running, logs no error, and does not grow', async () => {
    const findings = new Findings();
    // The first bodies of 100 MiB fill the allocator's pools, so the allowance is large. `npm run
    // fuzz` checks what a second round adds.
    checkMemoryGrowth(findings, before, await target.measureMemory(), 300 * 2 ** 20);
    expect(findings.failures).toEqual([]);
    expect(target.listErrors()).toEqual([]);
  });
});
