import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

/**
 * `npm run chaos -- --rounds N [--seed S] [--jobs M]`: N faults while M jobs run. Exits with 1 if a
 * fault left a trace, and prints how to repeat the run.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, jobs: { type: 'string' } },
});
const whole = (name: 'rounds' | 'seed' | 'jobs', fallback: number, maximum: number) => {
  const value = Number(values[name] ?? fallback);
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return value;
  throw new Error(`--${name} is "${values[name]}"; it takes a whole number from 0 to ${maximum}`);
};
const rounds = whole('rounds', 100, 100_000);
const jobs = whole('jobs', 60, 10_000);
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
  log: console.log,
  stop: stop.signal,
}).catch((error: Error) => {
  console.error(`Chaos of seed ${seed}: ${error.message}`);
  process.exit(1);
});
const { problems, restarts, attempts, deliveredEvents, receiverBehaviors, connections } = result;
printCounts(result.faults);
console.log(`${restarts} restarts of processes; workers began or continued jobs ${attempts} times.`);
const requests = Object.values(receiverBehaviors).reduce((sum, count) => sum + count, 0);
console.log(`${deliveredEvents} events were delivered in ${requests} requests. The receiver:`);
printCounts(receiverBehaviors);
console.log(`${jobs} followers of event streams reconnected ${connections - jobs} times.`);
for (const problem of problems) console.error(`PROBLEM: ${problem}`);
console.log(
  problems.length === 0
    ? `None of ${jobs} jobs was lost or ended twice. Every policy equals that of an undisturbed run, ` +
        'byte for byte. Every event was delivered under one id, and every follower got each event once. ' +
        `${((performance.now() - began) / 1000).toFixed(0)} s, seed ${seed}.`
    : `${problems.length} problems; repeat with --rounds ${rounds} --jobs ${jobs} --seed ${seed}.`,
);
process.exit(problems.length === 0 ? 0 : 1);

function printCounts(counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts).sort())
    console.log(`${String(count).padStart(5)} x ${name}`);
}
