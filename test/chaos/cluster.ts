import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ensureRedis, type RedisService } from '../../src/cli/redis/ensure-redis.ts';
import { type Disk, prepareDisk } from './disk.ts';
import { Member } from './member.ts';
import { MoodyReceiver } from './receiver.ts';

/** Seconds that a worker's lock lasts here. */
export const LOCK_SECONDS = 2;

/** A whole service of real processes: two APIs, two workers, a private Redis, all on one small disk; and who is told by webhooks. */
export interface Cluster {
  readonly folder: string;
  readonly disk: Disk;
  readonly apis: readonly Member[];
  readonly workers: readonly Member[];
  readonly urls: readonly string[];
  readonly receiver: MoodyReceiver;
  /** Resolves when an API answers and a worker is there, after so many milliseconds at the latest. */
  ready(milliseconds: number): Promise<void>;
  /** SIGKILL to the server of Redis; who started it starts it again. */
  killRedis(): Promise<void>;
  /** @param keep leave the logs */
  close(keep: boolean): Promise<void>;
}

/**
 * Starts one; `say` hears what its Redis does.
 * @param seed of the receiver's moods
 * @param most times that the receiver refuses one event in a row
 */
export async function startCluster({
  seed,
  most,
  say,
}: {
  readonly seed: number;
  readonly most: number;
  readonly say: (line: string) => void;
}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'findery-chaos-'));
  const data = join(folder, 'data');
  const disk = prepareDisk(data);
  const redis: RedisService = await ensureRedis({ dataDir: data, log: say });
  const receiver = await MoodyReceiver.start(seed, most);
  const ports = [await findFreePort(), await findFreePort()];
  const member = (name: string, main: string, environment: NodeJS.ProcessEnv) =>
    new Member(
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
        FINDERY_LOCK_SECONDS: String(LOCK_SECONDS),
        FINDERY_WARM: 'none',
        FINDERY_WEBHOOK_ALLOW: '127.0.0.1',
        // As short as they can be, so that a day of attempts is over in minutes.
        FINDERY_WEBHOOK_RETRY_SECONDS: '1',
        FINDERY_THREADS: '1',
        LOG_LEVEL: 'info',
        ...environment,
      },
      join(folder, `${name}.log`),
    );
  const apis = ports.map((port, i) => member(`api-${i + 1}`, 'api.ts', { PORT: String(port) }));
  const workers = [1, 2].map((number) => member(`worker-${number}`, 'worker.ts', {}));
  return {
    folder,
    disk,
    apis,
    workers,
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    receiver,
    async ready(milliseconds) {
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
      const client = new Redis(redis.url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
      client.on('error', () => {});
      try {
        const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1]);
        process.kill(pid, 'SIGKILL');
      } catch {
        // It is down already.
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
