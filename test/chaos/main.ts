import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { FAULTS } from './faults.ts';

/**
 * `npm run chaos -- --rounds N [--seed S] [--jobs M] [--only TEXT]`: N faults while M jobs run, of
 * all kinds or of those with a text in their names. Exits with 1 if a fault left a trace, and
 * prints how to repeat the run.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    seed: { type: 'string' },
    jobs: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
const whole = (name: 'rounds' | 'seed' | 'jobs', fallback: number, maximum: number) => {
  const value = Number(values[name] ?? fallback);
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return value;
  throw new Error(`--${name} is "${values[name]}"; it takes a whole number from 0 to ${maximum}`);
};
const rounds = whole('rounds', 100, 100_000);
const jobs = whole('jobs', 60, 10_000);
const { only } = values;
if (!FAULTS.some(({ name }) => name.includes(only)))
  throw new Error(`--only is "${only}"; the faults are ${FAULTS.map(({ name }) => `"${name}"`).join(', ')}`);
const seed = whole('seed', randomInt(2 ** 32), 2 ** 32 - 1);

console.log(`Chaos of seed ${seed}: ${rounds} faults, ${jobs} jobs.`);
const began = performance.now();
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stop.abort(new Error(`aborted by ${signal}`)));
const result = await runChaos({
  rounds,
  jobs,
  seed,
  only,
  log: console.log,
  stop: stop.signal,
}).catch((error: Error) => {
  console.error(`Chaos of seed ${seed}: ${error.message}`);
  process.exit(1);
});
const { problems, restarts, attempts, deliveredEvents, receiverBehaviors, connections } = result;
printCounts(result.faults);
console.log(`${result.backups.restored} backups were restored; faults ended ${result.backups.failed} more.`);
console.log(`${restarts} restarts of processes; workers began or continued jobs ${attempts} times.`);
const requests = Object.values(receiverBehaviors).reduce((sum, count) => sum + count, 0);
console.log(`${deliveredEvents} events were delivered in ${requests} requests. The receiver:`);
printCounts(receiverBehaviors);
console.log(`${jobs} followers of event streams reconnected ${connections - jobs} times.`);
for (const problem of problems) console.error(`PROBLEM: ${problem}`);
const repeat = `--rounds ${rounds} --jobs ${jobs} --seed ${seed}${only && ` --only "${only}"`}`;
console.log(
  problems.length === 0
    ? `None of ${jobs} jobs was lost or ended twice. Every policy equals that of an undisturbed run, ` +
        'byte for byte, also after the restore of each backup. Every event was delivered under one id, ' +
        'and every follower got each event once. ' +
        `${((performance.now() - began) / 1000).toFixed(0)} s, seed ${seed}.`
    : `${problems.length} problems; repeat with ${repeat}.`,
);
process.exit(problems.length === 0 ? 0 : 1);

function printCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts).sort())
    console.log(`${String(count).padStart(5)} x ${name}`);
}
