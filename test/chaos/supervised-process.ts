import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Pause before a process that exited is restarted. */
const RESTART_DELAY_MS = 300;
/** Time that a process may take to exit after SIGTERM, before it is killed. */
const SHUTDOWN_TIMEOUT_MS = 12_000;

/** A process that is restarted whenever it exits. */
export class SupervisedProcess {
  readonly name: string;
  readonly #command: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  readonly #log: number;
  #child: ChildProcess | undefined;
  #closing = false;
  #isKeptDown = false;
  /** Number of starts, the first one included. */
  starts = 0;

  constructor(name: string, command: readonly string[], environment: NodeJS.ProcessEnv, logFile: string) {
    this.name = name;
    this.#command = command;
    this.#environment = environment;
    this.#log = openSync(logFile, 'a');
    this.#start();
  }

  #start(): void {
    this.starts++;
    const [program, ...parameters] = this.#command;
    const child = spawn(program, parameters, {
      env: this.#environment,
      stdio: ['ignore', this.#log, this.#log],
    });
    this.#child = child;
    child.once('exit', () => {
      setTimeout(() => this.#restart(), RESTART_DELAY_MS);
    });
  }

  #restart(): void {
    const isRunning = this.#child?.exitCode === null && this.#child.signalCode === null;
    if (!this.#closing && !this.#isKeptDown && !isRunning) this.#start();
  }

  /** Sends a signal to the process. */
  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Kills the process, and restarts it when `work` is over. */
  async keepDown(work: () => Promise<void>): Promise<void> {
    this.#isKeptDown = true;
    this.#child?.kill('SIGKILL');
    try {
      await work();
    } finally {
      this.#isKeptDown = false;
      this.#restart();
    }
  }

  /** Terminates the process and kills it if it does not exit in time. */
  async close(): Promise<void> {
    this.#closing = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const timer = new AbortController();
    await Promise.race([
      ended,
      sleep(SHUTDOWN_TIMEOUT_MS, undefined, { signal: timer.signal }).catch(() => {}),
    ]);
    timer.abort();
    child.kill('SIGKILL');
    await ended;
  }
}
