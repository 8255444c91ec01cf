import { randomInt } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Scale } from './arena.ts';
import { attackByHand, compareGauges } from './by-hand.ts';
import { drive, findSchemathesis, INSTALL } from './driver.ts';
import { countWrong, type Outcome, summarize, writeReport } from './report.ts';
import { Tally } from './tally.ts';
import { type Gauge, startTarget } from './target.ts';
import { stock } from './things.ts';

/**
 * `npm run fuzz -- [--minutes 10] [--seed N] [--out FOLDER] [--schemathesis PATH]`: a service of its own under Schemathesis and under
 * requests made by hand. Status 1 when anything that must not be came of it.
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
  throw new Error(`--minutes is "${values.minutes}"; it takes 0 (by hand alone) to 1440`);
const seed = Number(values.seed ?? randomInt(2 ** 32));
if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
  throw new Error(`--seed is "${values.seed}"; it takes a whole number from 0 to ${2 ** 32 - 1}`);
const program = minutes === 0 ? null : await findSchemathesis(values.schemathesis);
if (minutes > 0 && program === null) {
  console.error(INSTALL);
  process.exit(1);
}

const SCALE: Scale = {
  idle: 10_000,
  followers: 500,
  bodyBytes: 100 * 2 ** 20,
  mutations: 5000,
  idsEach: Number.POSITIVE_INFINITY,
};

const say = (line: string) => console.log(line);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
const folder = resolve(values.out);
await mkdir(folder, { recursive: true });
const began = performance.now();
say(`Fuzzing of seed ${seed}: ${minutes} minutes of Schemathesis, then by hand.`);
const target = await startTarget({ folder, requestSeconds: 10, worker: true });
try {
  const tally = new Tally();
  const gauges: [string, Gauge][] = [];
  const measure = async (when: string) => {
    const gauge = await target.gauge();
    gauges.push([when, gauge]);
    return gauge;
  };
  await measure('at first');
  let driven: Outcome['driven'] = null;
  if (program !== null) {
    const pools = await stock(target.url, target.keys.acme, await target.furnish(), 20);
    driven = await drive(target, pools, {
      program,
      seconds: Math.ceil(minutes * 60),
      seed,
      folder,
      stop: stop.signal,
    });
    await measure('after Schemathesis');
  }
  // The first round fills caches and pools to their size; what a second one adds to that is what stays.
  for (const round of ['first', 'second']) {
    if (stop.signal.aborted) break;
    say(`By hand, the ${round} round:`);
    const before = gauges.at(-1)?.[1];
    await attackByHand(target, {
      seed: round === 'first' ? seed : (seed + 1) % 2 ** 32,
      scale: SCALE,
      tally,
      say,
      stop: stop.signal,
    });
    const after = await measure(`after the ${round} round by hand`);
    if (round === 'second' && before) compareGauges(tally, before, after);
  }
  const outcome: Outcome = {
    seed,
    minutes,
    seconds: (performance.now() - began) / 1000,
    driven,
    tally,
    gauges,
    answered: target.answered(),
    warnings: target.warnings(),
    complaints: target.complaints(),
  };
  const file = join(folder, 'report.md');
  await writeFile(file, writeReport(outcome));
  for (const { attack, what, reproduction } of tally.failures.slice(0, 50))
    console.error(`WRONG: ${attack}: ${what}\n  ${reproduction}`);
  for (const line of outcome.complaints.slice(0, 20)) console.error(`LOGGED: ${line}`);
  if (driven && driven.failures + driven.errors > 0) console.error(driven.words);
  for (const line of summarize(outcome)) say(line);
  say(`The report: ${file}`);
  process.exitCode = countWrong(outcome) > 0 || stop.signal.aborted ? 1 : 0;
} finally {
  await target.close();
}
