import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/redis-servers.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { Backups } from './backups.ts';
import { type Disk, prepareDisk } from './disk.ts';
import { RedisGroup } from './redis-group.ts';
import { RetryingClient } from './retrying-client.ts';
import { SupervisedProcess } from './supervised-process.ts';
import { UnreliableReceiver } from './unreliable-receiver.ts';

/** Seconds after which the lease of a silent worker expires. */
export const LEASE_SECONDS = 2;

/**
 * Two APIs, two workers, three Redises and a Sentinel, all real processes; storage and Redises are
 * on one small disk. And a receiver of webhooks.
 */
export interface Cluster {
  readonly folder: string;
  readonly disk: Disk;
  readonly apis: readonly SupervisedProcess[];
  readonly workers: readonly SupervisedProcess[];
  readonly urls: readonly string[];
  readonly receiver: UnreliableReceiver;
  readonly redis: RedisGroup;
  readonly backups: Backups;
  /** Settings of APIs, workers and commands. */
  readonly environment: NodeJS.ProcessEnv;
  /**
   * Waits until an API is ready (which needs Redis, storage and a worker), or until the time is
   * over.
   */
  waitUntilReady(milliseconds: number): Promise<void>;
  /** @param keep whether to keep the logs */
  close(keep: boolean): Promise<void>;
}

/**
 * Starts a cluster in a temporary folder.
 * @param seed seed of the receiver's behavior
 * @param maxRefusals how often the receiver refuses an event before it accepts it
 * @param stop ends the requests before backups
 */
export async function startCluster({
  seed,
  maxRefusals,
  stop,
}: {
  readonly seed: number;
  readonly maxRefusals: number;
  readonly stop: AbortSignal;
}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'findery-chaos-'));
  const data = join(folder, 'data');
  const disk = prepareDisk(data);
  const redis = await RedisGroup.start(folder, data);
  const receiver = await UnreliableReceiver.start(seed, maxRefusals);
  const ports = [await freePort(), await freePort()];
  const environment = {
    ...process.env,
    REDIS_URL: redis.url,
    FINDERY_DATA: data,
    FINDERY_REQUIRE_DURABLE: 'true',
    FINDERY_LOCK_SECONDS: String(LEASE_SECONDS),
    FINDERY_WARM: 'none',
    FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
    // The shortest delay, so that all attempts of a delivery are over in minutes.
    FINDERY_WEBHOOK_RETRY_SECONDS: '1',
    FINDERY_THREADS: '1',
    LOG_LEVEL: 'info',
  };
  const supervised = (name: string, main: string, more: NodeJS.ProcessEnv) =>
    superviseProgram(name, main, { ...environment, ...more }, folder);
  const apis = ports.map((port, i) => supervised(`api-${i + 1}`, 'api.ts', { PORT: String(port) }));
  const workers = [1, 2].map((number) => supervised(`worker-${number}`, 'worker.ts', {}));
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  return {
    folder,
    disk,
    apis,
    workers,
    urls,
    receiver,
    redis,
    backups: new Backups(
      folder,
      environment,
      new RetryingClient(urls, new SeededRandom(seed ^ 0xbac0), stop),
    ),
    environment,
    async waitUntilReady(milliseconds) {
      for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(100)) {
        const answers = ports.map((port) =>
          fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2000) }).then(
            ({ ok }) => ok,
            () => false,
          ),
        );
        if ((await Promise.all(answers)).includes(true)) return;
      }
    },
    async close(keep) {
      disk.free();
      await Promise.all([...apis, ...workers].map((each) => each.close()));
      await receiver.close();
      await redis.close();
      disk.remove();
      if (!keep) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A program of `src/cli` under supervision.
 * @param folder receives NAME.log
 */
export function superviseProgram(
  name: string,
  main: string,
  environment: NodeJS.ProcessEnv,
  folder: string,
): SupervisedProcess {
  const program = resolve(import.meta.dirname, '../../src/cli', main);
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', program];
  return new SupervisedProcess(name, command, environment, join(folder, `${name}.log`));
}
