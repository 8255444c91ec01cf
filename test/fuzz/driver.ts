import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { findProgram } from '../../src/cli/redis/find-program.ts';
import type { Target } from './target.ts';
import type { Pools } from './things.ts';

const TOOLS = resolve(import.meta.dirname, '../../tools/fuzz');
/** Where CONTRIBUTING.md puts it. */
const OWN = resolve(import.meta.dirname, '../../.venv-fuzz/bin');

/** What to do where there is no Schemathesis. */
export const INSTALL = `Schemathesis is not here. It is Python's, and this alone needs it:
  python3 -m venv .venv-fuzz && .venv-fuzz/bin/pip install -r tools/fuzz/requirements.txt
or name yours with --schemathesis PATH; --minutes 0 leaves it out.`;

/** The program: the one that is named, that of the venv, or one on the PATH; null where there is none. */
export async function findSchemathesis(named: string | undefined): Promise<string | null> {
  if (named !== undefined) return findProgram(basename(named), dirname(resolve(named)));
  return findProgram('schemathesis', [OWN, process.env.PATH ?? ''].join(':'));
}

/** What Schemathesis said. */
export interface Driven {
  readonly status: number;
  /** Cases that it made; null when it ended before it had a report. */
  readonly cases: number | null;
  readonly failures: number;
  readonly errors: number;
  /** Operations that were tried, and those of them that took at least one request (2xx). */
  readonly operations: { readonly tested: number; readonly accepting: number };
  /** Its own words from FAILURES on. */
  readonly words: string;
}

interface Report {
  readonly operations: { readonly tested: number };
  readonly test_cases: { readonly generated: number };
  readonly failures: readonly unknown[];
  readonly errors: readonly unknown[];
  readonly valid_rates: Readonly<Record<string, Readonly<Record<string, { readonly accepted: number }>>>>;
}

/** Drives a service from `openapi/openapi.json` for so many seconds. Its whole output goes to `folder`/schemathesis.log. */
export async function drive(
  target: Target,
  pools: Pools,
  options: { program: string; seconds: number; seed: number; folder: string; stop: AbortSignal },
): Promise<Driven> {
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
      // One thread: with more, Python before 3.12 can fail inside of its own parser.
      ['--workers', '1', '--continue-on-failure', '--no-color'],
    ].flat();
    // What it keeps of its own goes with the folder.
    const status = await run(program, args, { cwd: scratch, environment: { FUZZ_AUTH: auth } }, log, stop);
    const words = await readFile(log, 'utf8');
    const from = words.search(/^=+ (ERRORS|FAILURES|WARNINGS|SUMMARY)/m);
    return { status, ...(await summarize(report)), words: from < 0 ? words.slice(-4000) : words.slice(from) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function withKey(name: string, key: string) {
  return { name, fixedHeaders: [{ name: 'Authorization', value: `Bearer ${key}` }] };
}

/** Ids of things that are there, for the addresses that ask for them: made up, hardly one would be found. */
function describePools(pools: Pools): string {
  return Object.entries(pools)
    .map(
      ([kind, ids]) => `[dictionaries.the-${kind}]
values = ${JSON.stringify(ids)}

[[operations]]
include-path-regex = '^/v1/${kind}/\\{'
parameters = { "path.${kind === 'models' ? 'name' : 'id'}" = { dictionary = "the-${kind}", probability = 0.5 } }
`,
    )
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

async function summarize(file: string): Promise<Omit<Driven, 'status' | 'words'>> {
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
