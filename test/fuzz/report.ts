import type { Findings } from './findings.ts';
import { formatMemory } from './run-attacks.ts';
import type { SchemathesisResult } from './schemathesis.ts';
import type { ProcessMemory } from './target.ts';

/** Result of `npm run fuzz`. */
export interface FuzzResult {
  readonly seed: number;
  readonly minutes: number;
  readonly seconds: number;
  /** Null: Schemathesis was left out. */
  readonly schemathesis: SchemathesisResult | null;
  /** Findings of the hand-written attacks. */
  readonly findings: Findings;
  /** Memory of the API at several times. */
  readonly memory: readonly (readonly [when: string, memory: ProcessMemory])[];
  /** Number of responses in the log of the API, by status class. */
  readonly responses: ReadonlyMap<string, number>;
  /** Number of warnings in the log of the API. */
  readonly warnings: number;
  readonly loggedErrors: readonly string[];
}

/** Number of failures and logged errors. 0: all is well. */
export function countProblems({ schemathesis, findings, loggedErrors }: FuzzResult): number {
  const schemathesisProblems =
    schemathesis === null
      ? 0
      : Math.max(schemathesis.failures + schemathesis.errors, schemathesis.status === 0 ? 0 : 1);
  return findings.failures.length + loggedErrors.length + schemathesisProblems;
}

const listCounts = (counts: ReadonlyMap<string, number>) =>
  [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${count} x ${name}`)
    .join(', ');

/** The summary that is printed at the end, in lines. */
export function summarize(outcome: FuzzResult): string[] {
  const { schemathesis, findings, memory, responses: answered, loggedErrors, seed, seconds } = outcome;
  const checks = [...findings.checks.values()].reduce((sum, count) => sum + count, 0);
  const problems = countProblems(outcome);
  return [
    schemathesis === null
      ? 'Schemathesis: left out'
      : `Schemathesis: ${schemathesis.cases ?? 'no'} cases over ` +
        `${schemathesis.operations.tested} operations ` +
        `(${schemathesis.operations.accepting} accepted some), all checks: ` +
        `${schemathesis.failures} failures, ${schemathesis.errors} errors`,
    `Hand-written attacks: ${listCounts(findings.statuses)}; ` +
      `${checks} checks of ${findings.checks.size} invariants: ` +
      `${findings.failures.length} failures; ` +
      `slowest response ${(findings.slowestMs / 1000).toFixed(1)} s`,
    `The API's log: ${listCounts(answered)}; ${loggedErrors.length} errors, ${outcome.warnings} warnings`,
    ...memory.map(([when, usage]) => `Memory of the API ${when}: ${formatMemory(usage)}`),
    problems === 0
      ? `No problems. Seed ${seed}, ${seconds.toFixed(0)} s.`
      : `${problems} problems. Seed ${seed}, ${seconds.toFixed(0)} s.`,
  ];
}

/** The report in Markdown. */
export function writeReport(outcome: FuzzResult): string {
  const { findings, schemathesis, loggedErrors, minutes, seed } = outcome;
  const failures = findings.failures.map(
    ({ attack, problem, reproduction }) =>
      `- **${attack}**: ${problem}` +
      (reproduction === '' ? '' : `\n\n  \`\`\`\n  ${reproduction}\n  \`\`\`\n`),
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
    '| invariant | checks |',
    '| --- | --- |',
    ...[...findings.checks].sort().map(([name, count]) => `| ${name} | ${count} |`),
    '',
    ...section('Failures of hand-written attacks', failures),
    ...section(
      'Errors in the log of the API',
      loggedErrors.map((line) => `    ${line}`),
    ),
    ...(schemathesis === null
      ? []
      : ['## Output of Schemathesis', '', '```', schemathesis.output.trim(), '```', '']),
  ].join('\n');
}
