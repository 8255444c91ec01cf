import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findRedisServer } from '../../src/cli/redis/private-redis.ts';
import { freePort } from '../support/redis-servers.ts';
import { SupervisedProcess } from './supervised-process.ts';

/** Name of the primary at the Sentinel. */
const NAME = 'chaos';
const SERVERS = 3;
/** Only the faults that make Sentinel fail over shorten this time. */
const DOWN_AFTER_MS = 60_000;
const FAILOVER_DOWN_AFTER_MS = 1000;
/** Time for what a healthy group does by itself. */
const PATIENCE_MS = 60_000;
/** A full Redis gets this part of the memory that it uses. */
const FULL_PART = 0.9;

interface Server {
  readonly port: number;
  readonly process: SupervisedProcess;
}

/**
 * A primary and two replicas that a Sentinel watches. Every server flushes each write, and refuses
 * writes while it has no replica (`min-replicas-to-write`). Supervisors restart what exits.
 *
 * Sentinel fails over only in `failOver`. A primary that dies otherwise is restarted on its files,
 * which have every write that it acknowledged; a replica may lack the last ones.
 */
export class RedisGroup {
  /** As in REDIS_URL. */
  readonly url: string;
  readonly #servers: readonly Server[];
  readonly #sentinel: Server;

  private constructor(servers: readonly Server[], sentinel: Server) {
    this.#servers = servers;
    this.#sentinel = sentinel;
    this.url = `redis-sentinel://127.0.0.1:${sentinel.port}/${NAME}`;
  }

  /**
   * Starts the servers and waits until the replicas have the data of the primary.
   * @param folder for configurations, which the servers rewrite, and logs
   * @param data for append-only files
   */
  static async start(folder: string, data: string): Promise<RedisGroup> {
    const program = await findRedisServer(process.env.PATH ?? '');
    if (program === null) throw new Error('The PATH has neither redis-server nor valkey-server.');
    const launch = (name: string, port: number, lines: readonly string[], flags: readonly string[] = []) => {
      const file = join(folder, `${name}.conf`);
      const text = ['bind 127.0.0.1', `port ${port}`, ...lines].map((line) => `${line}\n`).join('');
      writeFileSync(file, text);
      const environment = { ...process.env, LC_ALL: 'C' };
      const log = join(folder, `${name}.log`);
      return { port, process: new SupervisedProcess(name, [program, file, ...flags], environment, log) };
    };
    const servers: Server[] = [];
    for (let i = 1; i <= SERVERS; i++) {
      const dir = join(data, `redis-${i}`);
      mkdirSync(dir);
      const [primary] = servers;
      const role = primary ? [`replicaof 127.0.0.1 ${primary.port}`] : [];
      servers.push(launch(`redis-${i}`, await freePort(), [`dir "${dir}"`, ...SETTINGS, ...role]));
    }
    const watch = [
      `dir "${folder}"`,
      `sentinel monitor ${NAME} 127.0.0.1 ${servers[0].port} 1`,
      `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${NAME} 2000`,
    ];
    const sentinel = launch('sentinel', await freePort(), watch, ['--sentinel']);
    const group = new RedisGroup(servers, sentinel);
    if (!(await until(() => group.#isWhole(), PATIENCE_MS))) throw new Error('The replicas did not start.');
    return group;
  }

  /** Kills the primary, which is restarted on its files. */
  async killPrimary(): Promise<void> {
    (await this.#primary())?.process.signal('SIGKILL');
  }

  /** Kills all servers and the Sentinel, which are restarted on their files. */
  killAll(): void {
    for (const { process } of [...this.#servers, this.#sentinel]) process.signal('SIGKILL');
  }

  /**
   * Makes Sentinel promote a replica. The primary acknowledges no write after the last one that
   * both replicas have; then it is killed, or stopped and continued as a primary of the past.
   * @returns whether a replica was promoted; false: the group was not whole before
   */
  async failOver(signal: 'SIGKILL' | 'SIGSTOP'): Promise<boolean> {
    if (!(await until(() => this.#isWhole(), PATIENCE_MS))) return false;
    const old = await this.#primary();
    if (old === undefined) return false;
    await query(old.port, (client) => client.call('CLIENT', 'PAUSE', PATIENCE_MS, 'WRITE'));
    const isReady = await until(() => this.#isCopied(old), PATIENCE_MS);
    if (!isReady) throw new Error('The replicas did not get the writes of a paused primary.');
    const promoted = async () => {
      await this.#downAfter(FAILOVER_DOWN_AFTER_MS);
      const isPromoted = await until(async () => (await this.#primary())?.port !== old.port, PATIENCE_MS);
      await this.#downAfter(DOWN_AFTER_MS);
      if (!isPromoted) throw new Error('Sentinel promoted no replica.');
    };
    if (signal === 'SIGKILL') await old.process.keepDown(promoted);
    else {
      old.process.signal('SIGSTOP');
      await promoted().finally(() => old.process.signal('SIGCONT'));
    }
    return true;
  }

  /** Leaves the primary no memory for writes, for some time. */
  async fill(milliseconds: number): Promise<void> {
    const port = (await this.#primary())?.port;
    if (port === undefined) return;
    const used = await query(port, (client) => client.info('memory')).then(usedMemory, () => null);
    if (used === null) return;
    await setMaxMemory(port, Math.floor(FULL_PART * used));
    await sleep(milliseconds);
    await until(() => setMaxMemory(port, 0), PATIENCE_MS);
  }

  /** Ends all servers. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers, this.#sentinel].map(({ process }) => process.close()));
  }

  /** The server that Sentinel calls the primary; undefined while Sentinel does not answer. */
  async #primary(): Promise<Server | undefined> {
    const answer = await query(
      this.#sentinel.port,
      (client) => client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME) as Promise<string[]>,
    ).catch(() => null);
    return this.#servers.find(({ port }) => port === Number(answer?.[1]));
  }

  /** Whether the primary has two replicas that have its data, and Sentinel knows both. */
  async #isWhole(): Promise<boolean> {
    const primary = await this.#primary();
    if (!primary) return false;
    const known = await query(this.#sentinel.port, (client) => client.info('sentinel'));
    const { role, online } = await replicationOf(primary);
    return role === 'master' && online.length === SERVERS - 1 && known.includes(`slaves=${SERVERS - 1},`);
  }

  async #isCopied(primary: Server): Promise<boolean> {
    const { offset, online } = await replicationOf(primary);
    return online.length === SERVERS - 1 && online.every((copied) => copied >= offset);
  }

  async #downAfter(milliseconds: number): Promise<void> {
    await query(this.#sentinel.port, (client) =>
      client.call('SENTINEL', 'SET', NAME, 'down-after-milliseconds', milliseconds),
    );
  }
}

const SETTINGS = [
  'appendonly yes',
  'appendfsync always',
  'save ""',
  'maxmemory-policy noeviction',
  'min-replicas-to-write 1',
  'min-replicas-max-lag 10',
  'repl-diskless-sync-delay 0',
] as const;

/** Role, replication offset, and the offsets that online replicas have acknowledged. */
async function replicationOf({ port }: Server) {
  const info = await query(port, (client) => client.info('replication'));
  const replicas = info.matchAll(/^slave\d+:.*state=online,offset=(\d+)/gm);
  return {
    role: /^role:(\w+)/m.exec(info)?.[1],
    offset: Number(/^master_repl_offset:(\d+)/m.exec(info)?.[1]),
    online: [...replicas].map(([, offset]) => Number(offset)),
  };
}

function usedMemory(info: string): number {
  return Number(/^used_memory:(\d+)/m.exec(info)?.[1]);
}

/** @returns whether the server has set its limit */
function setMaxMemory(port: number, bytes: number): Promise<boolean> {
  return query(port, (client) => client.config('SET', 'maxmemory', bytes)).then(
    () => true,
    () => false,
  );
}

async function query<T>(port: number, run: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, {
    connectTimeout: 2000,
    commandTimeout: 2000,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  client.on('error', () => {});
  try {
    return await run(client);
  } finally {
    client.disconnect();
  }
}

/** Waits until the condition holds. @returns whether it held in time */
async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(100))
    if (await condition().catch(() => false)) return true;
  return false;
}
