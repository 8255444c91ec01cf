import { describe } from './by-hand.ts';
import type { Driven } from './driver.ts';
import type { Tally } from './tally.ts';
import type { Gauge } from './target.ts';

/** All that came of `npm run fuzz`. */
export interface Outcome {
  readonly seed: number;
  readonly minutes: number;
  readonly seconds: number;
  /** Null: it was left out. */
  readonly driven: Driven | null;
  readonly tally: Tally;
  readonly gauges: readonly (readonly [when: string, gauge: Gauge])[];
  /** Answers that the API logged, by status class. */
  readonly answered: ReadonlyMap<string, number>;
  readonly warnings: number;
  readonly complaints: readonly string[];
}

/** How many things are wrong. */
export function countWrong({ driven, tally, complaints }: Outcome): number {
  const drivenWrong =
    driven === null ? 0 : Math.max(driven.failures + driven.errors, driven.status === 0 ? 0 : 1);
  return tally.failures.length + complaints.length + drivenWrong;
}

const inOrder = (counts: ReadonlyMap<string, number>) =>
  [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${count} x ${name}`)
    .join(', ');

/** The lines that are printed at the end. */
export function summarize(outcome: Outcome): string[] {
  const { driven, tally, gauges, answered, complaints, seed, seconds } = outcome;
  const looks = [...tally.checks.values()].reduce((sum, count) => sum + count, 0);
  const wrong = countWrong(outcome);
  return [
    driven === null
      ? 'Schemathesis: left out'
      : `Schemathesis: ${driven.cases ?? 'no'} cases over ${driven.operations.tested} operations (${driven.operations.accepting} took some), all checks: ${driven.failures} failures, ${driven.errors} errors`,
    `By hand: ${inOrder(tally.statuses)}; ${looks} looks at ${tally.checks.size} invariants: ${tally.failures.length} failures; slowest answer ${(tally.slowest / 1000).toFixed(1)} s`,
    `The API's log: ${inOrder(answered)}; ${complaints.length} errors, ${outcome.warnings} warnings`,
    ...gauges.map(([when, gauge]) => `The API ${when}: ${describe(gauge)}`),
    wrong === 0
      ? `Nothing is wrong. Seed ${seed}, ${seconds.toFixed(0)} s.`
      : `${wrong} things are wrong. Seed ${seed}, ${seconds.toFixed(0)} s.`,
  ];
}

/** The report as Markdown. */
export function writeReport(outcome: Outcome): string {
  const { tally, driven, complaints, minutes, seed } = outcome;
  const failures = tally.failures.map(
    ({ attack, what, reproduction }) =>
      `- **${attack}**: ${what}${reproduction === '' ? '' : `\n\n  \`\`\`\n  ${reproduction}\n  \`\`\`\n`}`,
  );
  const section = (title: string, lines: readonly string[]) =>
    lines.length > 0 ? [`## ${title}`, '', ...lines, ''] : [];
  return [
    '# Fuzzing',
    '',
    `\`npm run fuzz -- --minutes ${minutes} --seed ${seed}\``,
    '',
    ...summarize(outcome).map((line) => `- ${line}`),
    '',
    '| invariant | looks |',
    '| --- | --- |',
    ...[...tally.checks].sort().map(([name, count]) => `| ${name} | ${count} |`),
    '',
    ...section('Failures by hand', failures),
    ...section(
      'What the API logged',
      complaints.map((line) => `    ${line}`),
    ),
    ...(driven === null ? [] : ['## What Schemathesis says', '', '```', driven.words.trim(), '```', '']),
  ].join('\n');
}
