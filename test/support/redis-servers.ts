import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { findRedisServer } from '../../src/cli/redis/private-redis.ts';

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A Redis or a Sentinel that a test configures, on a port of 127.0.0.1. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly process: ChildProcess;
  /** Runs commands over a connection that does not reconnect. */
  query<T>(run: (client: Redis) => Promise<T>): Promise<T>;
}

/** Servers of one test file. `close` kills them and removes their files. */
export class RedisServers {
  readonly #started: ChildProcess[] = [];
  readonly #folders: string[] = [];

  /**
   * Starts a server that is durable, unless `settings` says otherwise.
   * @param settings pairs of a setting and its value, without dashes
   * @param kind `sentinel`: `settings` are the lines of its configuration
   */
  async start(
    settings: readonly (readonly [string, string])[] = [],
    kind: 'redis' | 'sentinel' = 'redis',
  ): Promise<RedisServer> {
    const program = (await findRedisServer(process.env.PATH ?? '')) ?? 'redis-server';
    const folder = await mkdtemp(join(tmpdir(), 'findery-server-'));
    this.#folders.push(folder);
    const port = await freePort();
    const durable =
      kind === 'redis'
        ? ([
            ['appendonly', 'yes'],
            ['appendfsync', 'always'],
            ['save', '""'],
            ['maxmemory-policy', 'noeviction'],
            ['repl-diskless-sync-delay', '0'],
          ] as const)
        : [];
    const lines = [
      ['bind', '127.0.0.1'],
      ['port', String(port)],
      ['dir', `"${folder}"`],
      ...durable,
      ...settings,
    ];
    const file = join(folder, 'server.conf');
    await writeFile(file, lines.map((line) => `${line.join(' ')}\n`).join(''));
    const child = spawn(program, [file, ...(kind === 'sentinel' ? ['--sentinel'] : [])], {
      stdio: 'ignore',
      env: { ...process.env, LC_ALL: 'C' },
    });
    this.#started.push(child);
    const server: RedisServer = {
      port,
      url: `redis://127.0.0.1:${port}`,
      process: child,
      async query(run) {
        const client = new Redis(port, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
        client.on('error', () => {});
        try {
          return await run(client);
        } finally {
          client.disconnect();
        }
      },
    };
    await until(() => server.query((client) => client.info()).then(Boolean, () => false));
    return server;
  }

  async close(): Promise<void> {
    for (const child of this.#started) child.kill('SIGKILL');
    await Promise.all(this.#folders.map((folder) => rm(folder, { recursive: true, force: true })));
  }
}

/** An address that leads to one server at a time, as a virtual IP or a DNS name does. */
export class MovingAddress {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  target: number;

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer((client) => {
      const upstream = connect(this.target, '127.0.0.1');
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ]) {
        this.#sockets.add(socket);
        socket.on('error', () => other.destroy()).on('close', () => other.destroy());
        socket.pipe(other);
      }
    });
  }

  static async listen(target: number): Promise<MovingAddress> {
    const address = new MovingAddress(target);
    address.#server.listen(0, '127.0.0.1');
    await once(address.#server, 'listening');
    return address;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Waits up to a minute until the condition holds. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('The condition did not hold within a minute.');
}
