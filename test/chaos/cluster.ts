import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureRedis, type RedisService } from '../../src/cli/redis/ensure-redis.ts';
import { openConnection } from '../../src/redis/address.ts';
import { type Disk, prepareDisk } from './disk.ts';
import { SupervisedProcess } from './supervised-process.ts';
import { UnreliableReceiver } from './unreliable-receiver.ts';

/** Seconds after which the lease of a silent worker expires. */
export const LEASE_SECONDS = 2;

/**
 * Two APIs, two workers and a private Redis on one small disk, all real processes, and a receiver
 * of webhooks.
 */
export interface Cluster {
  readonly folder: string;
  readonly disk: Disk;
  readonly apis: readonly SupervisedProcess[];
  readonly workers: readonly SupervisedProcess[];
  readonly urls: readonly string[];
  readonly receiver: UnreliableReceiver;
  /**
   * Waits until an API is ready (which needs Redis, storage and a worker), or until the time is
   * over.
   */
  waitUntilReady(milliseconds: number): Promise<void>;
  /** Kills the Redis server. Its supervisor restarts it. */
  killRedis(): Promise<void>;
  /** @param keep whether to keep the logs */
  close(keep: boolean): Promise<void>;
}

/**
 * Starts a cluster in a temporary folder.
 * @param seed seed of the receiver's behavior
 * @param maxRefusals how often the receiver refuses an event before it accepts it
 * @param log receives what happens to Redis
 */
export async function startCluster({
  seed,
  maxRefusals,
  log,
}: {
  readonly seed: number;
  readonly maxRefusals: number;
  readonly log: (line: string) => void;
}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'findery-chaos-'));
  const data = join(folder, 'data');
  const disk = prepareDisk(data);
  const redis: RedisService = await ensureRedis({ dataDir: data, log });
  const receiver = await UnreliableReceiver.start(seed, maxRefusals);
  const ports = [await findFreePort(), await findFreePort()];
  const supervised = (name: string, main: string, environment: NodeJS.ProcessEnv) =>
    new SupervisedProcess(
      name,
      [
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        resolve(import.meta.dirname, '../../src/cli', main),
      ],
      {
        ...process.env,
        REDIS_URL: redis.url,
        FINDERY_DATA: data,
        FINDERY_LOCK_SECONDS: String(LEASE_SECONDS),
        FINDERY_WARM: 'none',
        FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
        // The shortest delay, so that all attempts of a delivery are over in minutes.
        FINDERY_WEBHOOK_RETRY_SECONDS: '1',
        FINDERY_THREADS: '1',
        LOG_LEVEL: 'info',
        ...environment,
      },
      join(folder, `${name}.log`),
    );
  const apis = ports.map((port, i) => supervised(`api-${i + 1}`, 'api.ts', { PORT: String(port) }));
  const workers = [1, 2].map((number) => supervised(`worker-${number}`, 'worker.ts', {}));
  return {
    folder,
    disk,
    apis,
    workers,
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    receiver,
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
    async killRedis() {
      const client = openConnection(redis.url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
      client.on('error', () => {});
      try {
        const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
        process.kill(pid, 'SIGKILL');
      } catch {
        // It is not running.
      } finally {
        client.disconnect();
      }
    },
    async close(keep) {
      disk.free();
      await Promise.all([...apis, ...workers].map((each) => each.close()));
      await receiver.close();
      await redis.stop();
      disk.remove();
      if (!keep) rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
