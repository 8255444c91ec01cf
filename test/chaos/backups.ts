import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { FINAL_STATUSES } from '../../src/contract/schemas/job.ts';
import type { RetryingClient } from './retrying-client.ts';

const FINDERY = resolve(import.meta.dirname, '../../bin/findery');
/** Time after which a command counts as hanging. */
const COMMAND_TIMEOUT_MS = 180_000;

/** A backup that was made, and the jobs that it has to hold. */
export interface TakenBackup {
  readonly folder: string;
  /** Ids of the jobs that were listed before it began. */
  readonly listed: readonly string[];
  /** Those of them that had ended. */
  readonly ended: readonly string[];
}

/** Makes backups of a service that runs, while faults happen. */
export class Backups {
  readonly taken: TakenBackup[] = [];
  /** Backups that a fault ended, which the command has to say. */
  failed = 0;
  readonly problems: string[] = [];
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #client: RetryingClient;
  #count = 0;
  #running: Promise<void> = Promise.resolve();

  /**
   * @param folder receives the backups
   * @param environment of the service
   */
  constructor(folder: string, environment: NodeJS.ProcessEnv, client: RetryingClient) {
    this.#folder = folder;
    this.#environment = environment;
    this.#client = client;
  }

  /** Begins a backup as soon as the one before is over. The next faults meet it. */
  async begin(): Promise<void> {
    await this.#running;
    const jobs = await this.#client.listJobs();
    const listed = jobs.map(({ id }) => id);
    const ended = jobs.filter(({ status }) => FINAL_STATUSES.includes(status)).map(({ id }) => id);
    this.#running = this.#make({ folder: join(this.#folder, `backup-${++this.#count}`), listed, ended });
  }

  /** Makes a last backup, without faults. */
  async finish(): Promise<void> {
    await this.begin();
    const { failed } = this;
    await this.#running;
    if (this.failed > failed) this.problems.push('a backup without faults failed');
  }

  async #make(backup: TakenBackup): Promise<void> {
    const { status } = await runFindery(['backup', backup.folder], this.#environment);
    if (status === 0) {
      this.taken.push(backup);
      return;
    }
    this.failed++;
    const verified = await runFindery(['backup', '--verify', backup.folder], this.#environment);
    if (verified.status === 0) this.problems.push(`${backup.folder} failed, but it is a whole backup`);
  }
}

/** Runs `findery`. `output` has both streams. */
export function runFindery(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ readonly status: number; readonly output: string }> {
  return new Promise((done) => {
    execFile(FINDERY, args, { env, timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) =>
      done({ status: error ? Number(error.code ?? 1) : 0, output: stdout + stderr }),
    );
  });
}
