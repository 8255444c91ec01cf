import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { freePort } from '../support/redis-servers.ts';
import { DOCKER } from './dashboard.ts';

const START_TIMEOUT_MS = 30_000;

/** Values of a series at the times of a query. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** Seconds since 1970, and the value; NaN leaves a gap. */
  readonly points: readonly (readonly [number, number])[];
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data: {
    readonly result: readonly {
      readonly metric: Series['labels'];
      readonly values: readonly (readonly [number, string])[];
    }[];
  };
}

/** A running Prometheus. */
export class Prometheus {
  readonly #url: string;
  readonly #process: ChildProcess;

  private constructor(url: string, process: ChildProcess) {
    this.#url = url;
    this.#process = process;
  }

  /**
   * Starts Prometheus with `docker/prometheus/prometheus.yml`, of which only the addresses and the
   * file of the key are replaced, and the interval.
   * @param folder for its configuration and data
   * @param targets host and port by job
   * @param key API key with the scope `metrics:read`
   */
  static async start(
    folder: string,
    targets: Readonly<Record<string, string>>,
    key: string,
  ): Promise<Prometheus> {
    const keyFile = join(folder, 'key');
    await writeFile(keyFile, key, { mode: 0o600 });
    const config = parse(await readFile(join(DOCKER, 'prometheus', 'prometheus.yml'), 'utf8')) as {
      global: object;
      scrape_configs: Record<string, unknown>[];
    };
    const file = join(folder, 'prometheus.yml');
    await writeFile(
      file,
      stringify({
        global: { scrape_interval: '2s', evaluation_interval: '2s' },
        rule_files: [join(DOCKER, 'prometheus', 'alerts.yaml')],
        scrape_configs: config.scrape_configs.map(({ dns_sd_configs: _, ...scrape }) => ({
          ...scrape,
          ...(scrape.authorization ? { authorization: { credentials_file: keyFile } } : {}),
          static_configs: [{ targets: [targets[String(scrape.job_name)]] }],
        })),
      }),
    );
    await promtool('check', 'config', file);
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const child = spawn(
      'prometheus',
      [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, 'tsdb')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'inherit' },
    );
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await fetch(`${url}/-/ready`).catch(() => null))?.ok) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('Prometheus did not start.');
      await sleep(100);
    }
    return new Prometheus(url, child);
  }

  /**
   * Evaluates an expression over a range of time.
   * @param start seconds since 1970, as `end`
   * @throws Error with Prometheus' message if the expression is wrong
   */
  async query(
    expression: string,
    { start, end, step }: { readonly start: number; readonly end: number; readonly step: number },
  ): Promise<Series[]> {
    const parameters = { query: expression, start: String(start), end: String(end), step: String(step) };
    const response = await fetch(`${this.#url}/api/v1/query_range?${new URLSearchParams(parameters)}`);
    const answer = (await response.json()) as Answer;
    if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`);
    return answer.data.result.map(({ metric, values }) => ({
      labels: metric,
      points: values.map(([time, value]) => [time, Number(value)] as const),
    }));
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await ended;
  }
}

/**
 * Runs promtool and returns its output.
 * @throws Error with its output if it finds a fault, or if it is not installed
 */
export async function promtool(...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)('promtool', args);
    return stdout + stderr;
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT')
      throw new Error(
        'promtool is not installed; it comes with Prometheus (Debian: apt install prometheus).',
      );
    throw new Error(`promtool ${args.join(' ')} failed:\n${stdout}${stderr}`);
  }
}

/**
 * What promtool remarks on names, types and texts of metrics.
 * @param text an answer of `/metrics`
 */
export function lintMetrics(text: string): Promise<string[]> {
  return new Promise((resolve) => {
    // Remarks give an exit status, too.
    const child = execFile('promtool', ['check', 'metrics'], (_error, stdout, stderr) =>
      resolve((stdout + stderr).split('\n').filter(Boolean)),
    );
    child.stdin?.end(text);
  });
}
