import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds until a process that has ended is started again, as a supervisor would. */
const PAUSE = 300;

/** A process of the service that is started again whenever it ends. */
export class Member {
  readonly name: string;
  readonly #command: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;
  readonly #log: number;
  #child: ChildProcess | undefined;
  #closing = false;
  /** How often it was started. */
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
      if (!this.#closing) setTimeout(() => this.#closing || this.#start(), PAUSE);
    });
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Tells it to end, kills it when it does not. */
  async close(): Promise<void> {
    this.#closing = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const patience = new AbortController();
    await Promise.race([ended, sleep(12_000, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
    child.kill('SIGKILL');
    await ended;
  }
}
