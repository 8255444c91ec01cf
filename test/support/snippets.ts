import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../src/cli/redis/find-program.ts';

/** The URL of the service in documents. */
const DOCUMENTED_URL = 'http://127.0.0.1:8080';
const LANGUAGES = ['sh', 'ts', 'python'] as const;
/** Time for one block. A search with the embedded model takes a minute on two cores. */
const BLOCK_TIMEOUT_MS = 240_000;

/** A fenced block of a document that a test runs. */
export interface Snippet {
  readonly language: (typeof LANGUAGES)[number];
  readonly code: string;
  /** Line of the marker in the document. */
  readonly line: number;
}

/**
 * The blocks of a Markdown document with a marker in the line above their fence, in order:
 * `<!-- test: sh -->`, `<!-- test: ts -->` or `<!-- test: python -->`.
 * @throws Error when a marker names another language, or when no fenced block follows it
 */
export function findSnippets(markdown: string): Snippet[] {
  return [...markdown.matchAll(/<!-- test: *(.*?) *-->(?:\n```\w*\n([\s\S]*?)^```$)?/gm)].map(
    ({ 1: name, 2: code, index }) => {
      const line = markdown.slice(0, index).split('\n').length;
      const language = LANGUAGES.find((known) => known === name);
      if (language === undefined)
        throw new Error(`line ${line}: the marker names "${name}"; it takes ${LANGUAGES.join(', ')}`);
      if (code === undefined) throw new Error(`line ${line}: no fenced block follows the marker`);
      return { language, code, line };
    },
  );
}

/** What the blocks of a document wrote. */
export interface SnippetOutput {
  /** Working directory of the blocks. */
  readonly folder: string;
  /** Standard output of all blocks. */
  readonly stdout: string;
}

/**
 * Runs the blocks of a document in order, in one new folder. `sh` blocks share a shell, so
 * variables carry over. The documented URL is replaced by that of the service, which the other
 * blocks also find in FINDERY_URL. Python blocks are skipped if there is no python3.
 * @throws Error with the line and the output of the first block that fails
 */
export async function runSnippets(snippets: readonly Snippet[], url: string): Promise<SnippetOutput> {
  const folder = await mkdtemp(join(tmpdir(), 'findery-docs-'));
  const environment = { ...process.env, FINDERY_URL: url };
  const python = await findProgram('python3', process.env.PATH ?? '');
  const shell = new Shell(folder, environment);
  let stdout = '';
  try {
    for (const { language, code, line } of snippets) {
      const text = code.replaceAll(DOCUMENTED_URL, url);
      const run = async (program: string, file: string, ...options: string[]) => {
        await writeFile(join(folder, file), text);
        const settings = { cwd: folder, env: environment, timeout: BLOCK_TIMEOUT_MS };
        return (await promisify(execFile)(program, [...options, file], settings)).stdout;
      };
      try {
        if (language === 'sh') stdout += await shell.run(text);
        else if (language === 'ts')
          stdout += await run(process.execPath, 'snippet.mts', '--disable-warning=ExperimentalWarning');
        else if (python !== null) stdout += await run(python, 'snippet.py');
      } catch (error) {
        throw new Error(`line ${line} (${language}): ${(error as Error).message}`, { cause: error });
      }
    }
  } finally {
    shell.close();
  }
  return { folder, stdout };
}

/** A bash that stays open between blocks and exits at the first command that fails. */
class Shell {
  readonly #process: ChildProcess;
  #stdout = '';
  #stderr = '';

  constructor(cwd: string, env: NodeJS.ProcessEnv) {
    // Descriptor 3 reports the end of a block.
    this.#process = spawn('bash', ['-e'], { cwd, env, stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    this.#process.stdout?.on('data', (text: Buffer) => {
      this.#stdout += text;
    });
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#stderr += text;
    });
    this.#process.stdin?.on('error', () => {}); // it has exited; `run` reports that
  }

  /** Runs commands and returns their standard output. */
  async run(code: string): Promise<string> {
    this.#stdout = '';
    this.#stderr = '';
    this.#process.stdin?.write(`${code}\necho done >&3\n`);
    const aborted = AbortSignal.timeout(BLOCK_TIMEOUT_MS);
    const report = this.#process.stdio[3];
    if (!report) throw new Error('The shell has no descriptor 3.');
    const end = await Promise.race([
      once(report, 'data', { signal: aborted }).then(() => null),
      once(this.#process, 'exit', { signal: aborted }).then(([status]) => `exit status ${status}`),
    ]).catch(() => 'time-out');
    if (end !== null) throw new Error(`${end}\n${this.#stdout}${this.#stderr}`);
    // Output of a command may arrive after the report of its end.
    await new Promise((resolve) => setTimeout(resolve, 50));
    return this.#stdout;
  }

  close(): void {
    this.#process.kill('SIGKILL');
  }
}
