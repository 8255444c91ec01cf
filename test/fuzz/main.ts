import { randomInt } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Scale } from './attack.ts';
import { Findings } from './findings.ts';
import { countProblems, type FuzzResult, summarize, writeReport } from './report.ts';
import { createResourcePools } from './resources.ts';
import { checkMemoryGrowth, runAttacks } from './run-attacks.ts';
import { findSchemathesis, INSTALL_HINT, runSchemathesis } from './schemathesis.ts';
import { type ProcessMemory, startTarget } from './target.ts';

/**
 * `npm run fuzz -- [--minutes 10] [--seed N] [--out FOLDER] [--schemathesis PATH]`: starts a
 * service and attacks it with Schemathesis and with hand-written requests. Writes a report; exits
 * with 1 if it has problems.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    out: { type: 'string', default: 'fuzz-output' },
    schemathesis: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
if (!(minutes >= 0 && minutes <= 1440))
  throw new Error(`--minutes is "${values.minutes}"; it takes 0 (no Schemathesis) to 1440`);
const seed = Number(values.seed ?? randomInt(2 ** 32));
if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
  throw new Error(`--seed is "${values.seed}"; it takes a whole number from 0 to ${2 ** 32 - 1}`);
const program = minutes === 0 ? null : await findSchemathesis(values.schemathesis);
if (minutes > 0 && program === null) {
  console.error(INSTALL_HINT);
  process.exit(1);
}

const SCALE: Scale = {
  idle: 10_000,
  followers: 500,
  bodyBytes: 100 * 2 ** 20,
  mutations: 5000,
  idsEach: Number.POSITIVE_INFINITY,
};

const log = (line: string) => console.log(line);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
const folder = resolve(values.out);
await mkdir(folder, { recursive: true });
const began = performance.now();
log(`Fuzzing of seed ${seed}: ${minutes} minutes of Schemathesis, then hand-written attacks.`);
const target = await startTarget({ folder, requestSeconds: 10, worker: true });
try {
  const findings = new Findings();
  const memory: [string, ProcessMemory][] = [];
  const measure = async (when: string) => {
    const usage = await target.measureMemory();
    memory.push([when, usage]);
    return usage;
  };
  await measure('at the start');
  let schemathesis: FuzzResult['schemathesis'] = null;
  if (program !== null) {
    const resources = await target.createResources();
    const pools = await createResourcePools(target.url, target.keys.acme, resources, 20, target.keyIds);
    schemathesis = await runSchemathesis(target, pools, {
      program,
      seconds: Math.ceil(minutes * 60),
      seed,
      folder,
      stop: stop.signal,
    });
    await measure('after Schemathesis');
  }
  // The first round fills caches and pools. What a second round adds to them is a leak.
  for (const round of ['first', 'second']) {
    if (stop.signal.aborted) break;
    log(`Hand-written attacks, ${round} round:`);
    const before = memory.at(-1)?.[1];
    await runAttacks(target, {
      seed: round === 'first' ? seed : (seed + 1) % 2 ** 32,
      scale: SCALE,
      findings,
      log,
      stop: stop.signal,
    });
    const after = await measure(`after the ${round} round of attacks`);
    if (round === 'second' && before) checkMemoryGrowth(findings, before, after);
  }
  const outcome: FuzzResult = {
    seed,
    minutes,
    seconds: (performance.now() - began) / 1000,
    schemathesis,
    findings,
    memory,
    responses: target.countResponses(),
    warnings: target.countWarnings(),
    loggedErrors: target.listErrors(),
  };
  const file = join(folder, 'report.md');
  await writeFile(file, writeReport(outcome));
  for (const { attack, problem, reproduction } of findings.failures.slice(0, 50))
    console.error(`PROBLEM: ${attack}: ${problem}\n  ${reproduction}`);
  for (const line of outcome.loggedErrors.slice(0, 20)) console.error(`LOGGED: ${line}`);
  if (schemathesis && schemathesis.failures + schemathesis.errors > 0) console.error(schemathesis.output);
  for (const line of summarize(outcome)) log(line);
  log(`The report: ${file}`);
  process.exitCode = countProblems(outcome) > 0 || stop.signal.aborted ? 1 : 0;
} finally {
  await target.close();
}
