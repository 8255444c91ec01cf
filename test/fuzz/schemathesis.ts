import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { findProgram } from '../../src/cli/redis/find-program.ts';
import type { ResourcePools } from './resources.ts';
import type { Target } from './target.ts';

const TOOLS = resolve(import.meta.dirname, '../../tools/fuzz');
/** The virtual environment of CONTRIBUTING.md. */
const VENV = resolve(import.meta.dirname, '../../.venv-fuzz/bin');

/** Message for a machine without Schemathesis. */
export const INSTALL_HINT = `Schemathesis is not installed. Only npm run fuzz needs this Python program:
  python3 -m venv .venv-fuzz && .venv-fuzz/bin/pip install -r tools/fuzz/requirements.txt
Or give the path of yours with --schemathesis PATH, or leave it out with --minutes 0.`;

/**
 * Path of Schemathesis: the given one, that of the virtual environment, or one on the PATH; null:
 * there is none.
 * @param given path from the command line
 */
export async function findSchemathesis(given: string | undefined): Promise<string | null> {
  if (given !== undefined) return findProgram(basename(given), dirname(resolve(given)));
  return findProgram('schemathesis', [VENV, process.env.PATH ?? ''].join(':'));
}

/** Result of a run of Schemathesis. */
export interface SchemathesisResult {
  /** Exit status. */
  readonly status: number;
  /** Number of test cases; null: it ended before it wrote its report. */
  readonly cases: number | null;
  readonly failures: number;
  readonly errors: number;
  /** Operations that were tested, and how many of them accepted a request (2xx). */
  readonly operations: { readonly tested: number; readonly accepting: number };
  /** What it printed, from its errors and failures on. */
  readonly output: string;
}

/** The parts of Schemathesis' JSON report that are used. */
interface Report {
  readonly operations: { readonly tested: number };
  readonly test_cases: { readonly generated: number };
  readonly failures: readonly unknown[];
  readonly errors: readonly unknown[];
  readonly valid_rates: Readonly<Record<string, Readonly<Record<string, { readonly accepted: number }>>>>;
}

/**
 * Tests a service against `openapi/openapi.json` with all checks of Schemathesis.
 * @param pools ids of existing resources, for the paths that take one
 * @param options.seconds duration
 * @param options.folder receives schemathesis.log and schemathesis.json
 */
export async function runSchemathesis(
  target: Target,
  pools: ResourcePools,
  options: { program: string; seconds: number; seed: number; folder: string; stop: AbortSignal },
): Promise<SchemathesisResult> {
  const { program, seconds, seed, folder, stop } = options;
  const scratch = await mkdtemp(join(tmpdir(), 'findery-fuzz-driver-'));
  try {
    const auth = join(scratch, 'auth.json');
    const config = join(scratch, 'schemathesis.toml');
    await writeFile(
      auth,
      JSON.stringify({ auth: Object.entries(target.keys).map(([name, key]) => withKey(name, key)) }),
    );
    await writeFile(
      config,
      `${await readFile(join(TOOLS, 'schemathesis.toml'), 'utf8')}\n${describePools(pools)}`,
    );
    const log = join(folder, 'schemathesis.log');
    const report = join(folder, 'schemathesis.json');
    const args = [
      ['--config-file', config],
      ['run', resolve(import.meta.dirname, '../../openapi/openapi.json')],
      ['--url', target.url],
      ['--checks', 'all'],
      ['--max-time', String(seconds)],
      ['--seed', String(seed)],
      ['--report', 'json', '--report-json-path', report],
      // One thread: with several, Python before 3.12 can fail in its parser.
      ['--workers', '1', '--continue-on-failure', '--no-color'],
    ].flat();
    // In the scratch folder, whatever Schemathesis stores is removed with it.
    const status = await run(program, args, { cwd: scratch, environment: { FUZZ_AUTH: auth } }, log, stop);
    const text = await readFile(log, 'utf8');
    const from = text.search(/^=+ (ERRORS|FAILURES|WARNINGS|SUMMARY)/m);
    return {
      status,
      ...(await summarize(report)),
      output: from < 0 ? text.slice(-4000) : text.slice(from),
    };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function withKey(name: string, key: string) {
  return { name, fixedHeaders: [{ name: 'Authorization', value: `Bearer ${key}` }] };
}

/**
 * Configuration that takes half of all ids from the pools. Generated ids would hardly ever exist.
 */
function describePools(pools: ResourcePools): string {
  return Object.entries(pools)
    .map(([kind, ids]) => {
      const parameter = kind === 'models' ? 'name' : 'id';
      return `[dictionaries.the-${kind}]
values = ${JSON.stringify(ids)}

[[operations]]
include-path-regex = '^/v1/${kind}/\\{'
parameters = { "path.${parameter}" = { dictionary = "the-${kind}", probability = 0.5 } }
`;
    })
    .join('\n');
}

function run(
  program: string,
  args: string[],
  { cwd, environment }: { cwd: string; environment: NodeJS.ProcessEnv },
  log: string,
  stop: AbortSignal,
) {
  const output = createWriteStream(log);
  return new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const end = () => child.kill('SIGTERM');
    stop.addEventListener('abort', end, { once: true });
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    child.once('error', reject);
    child.once('close', (code) => {
      stop.removeEventListener('abort', end);
      output.end(() => resolve(code ?? 1));
    });
  });
}

async function summarize(file: string): Promise<Omit<SchemathesisResult, 'status' | 'output'>> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return { cases: null, failures: 0, errors: 0, operations: { tested: 0, accepting: 0 } };
  const { operations, test_cases, failures, errors, valid_rates } = JSON.parse(text) as Report;
  const accepting = Object.values(valid_rates).filter((phases) =>
    Object.values(phases).some(({ accepted }) => accepted > 0),
  );
  return {
    cases: test_cases.generated,
    failures: failures.length,
    errors: errors.length,
    operations: { tested: operations.tested, accepting: accepting.length },
  };
}
