import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';

/** `npm run chaos -- --rounds N [--seed S] [--jobs M]`: N faults while M jobs run. Status 1 when any of them left a trace. */
const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, jobs: { type: 'string' } },
});
const whole = (name: 'rounds' | 'seed' | 'jobs', fallback: number, most: number) => {
  const value = Number(values[name] ?? fallback);
  if (Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new Error(`--${name} is "${values[name]}"; it takes a whole number from 0 to ${most}`);
};
const rounds = whole('rounds', 100, 100_000);
const jobs = whole('jobs', 60, 10_000);
const seed = whole('seed', randomInt(2 ** 32), 2 ** 32 - 1);

console.log(`Chaos of seed ${seed}: ${rounds} faults, ${jobs} jobs.`);
const began = performance.now();
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => stop.abort(new Error(`broken off by ${signal}`)));
const { wrong, faults, restarts, attempts, told, moods, connections } = await runChaos({
  rounds,
  jobs,
  seed,
  say: console.log,
  stop: stop.signal,
}).catch((error: Error) => {
  console.error(`Chaos of seed ${seed}: ${error.message}`);
  process.exit(1);
});
for (const [name, count] of Object.entries(faults).sort())
  console.log(`${String(count).padStart(5)} x ${name}`);
console.log(`${restarts} processes were started again; workers took the jobs up ${attempts} times.`);
const requests = Object.values(moods).reduce((sum, count) => sum + count, 0);
console.log(`${told} events were told in ${requests} requests, whose receiver:`);
for (const [mood, count] of Object.entries(moods).sort())
  console.log(`${String(count).padStart(5)} x ${mood}`);
console.log(`${jobs} followers of events came back ${connections - jobs} times.`);
for (const what of wrong) console.error(`WRONG: ${what}`);
console.log(
  wrong.length === 0
    ? `None of ${jobs} jobs was lost or ended twice; every policy is, byte for byte, that of an undisturbed run; every event was delivered under one id, and every follower got each once. ${((performance.now() - began) / 1000).toFixed(0)} s, seed ${seed}.`
    : `${wrong.length} things are wrong; do it again with --rounds ${rounds} --jobs ${jobs} --seed ${seed}.`,
);
process.exit(wrong.length === 0 ? 0 : 1);
