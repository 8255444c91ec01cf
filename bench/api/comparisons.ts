import type { Redis } from 'ioredis';
import { RedisKeys } from '../../src/redis/keys.ts';
import { type ApiKey, ApiKeys, NO_LIMITS } from '../../src/tenancy/api-keys.ts';
import { type Comparison, type Competitor, compare } from './compare.ts';
import type { Options } from './options.ts';
import type { Server } from './servers.ts';

/** Body of every POST, the same for both servers. */
export const BODY = { prompt: 'a red book and a yellow vase', seed: 7 };
/** Number of jobs that the GET requests read. */
const READ_JOBS = 100;
const PREFIX = 'findery';

interface Setup {
  readonly service: Server;
  readonly bare: Server;
  readonly redis: Redis;
  readonly options: Options;
}

/**
 * Compares POST /v1/jobs: the bare server, the service, and the service with a key that has every
 * limit.
 */
export async function comparePosts({ service, bare, redis, options }: Setup): Promise<Comparison[]> {
  const { connections, seconds, rounds } = options;
  const load = { method: 'POST', paths: ['/v1/jobs'], body: BODY, connections, seconds } as const;
  const key = await limitedKey(redis);
  const competitors: Competitor[] = [
    { name: 'bare queue.add', server: bare, load },
    { name: 'service', server: service, load },
  ];
  const keyless = await compare(competitors, rounds, redis);
  await key.put();
  const withKey = { ...load, headers: { authorization: `Bearer ${key.secret}` } };
  const [, keyed] = await compare(
    [
      competitors[0],
      { name: 'service, with a key that has all limits', server: service, load: withKey, prepare: key.put },
    ],
    rounds,
    redis,
  );
  return [...keyless, keyed];
}

/** Compares GET of queued jobs. Each server reads its own jobs. */
export async function compareGets({ service, bare, redis, options }: Setup): Promise<Comparison[]> {
  const { connections, seconds, rounds } = options;
  const competitor = (name: string, server: Server): Competitor => {
    const paths: string[] = [];
    return {
      name,
      server,
      load: { paths, connections, seconds },
      async prepare() {
        paths.length = 0;
        for (let i = 0; i < READ_JOBS; i++) paths.push(`/v1/jobs/${await queueOne(server.url)}`);
      },
    };
  };
  return compare([competitor('bare queue.getJob', bare), competitor('service', service)], rounds, redis);
}

async function queueOne(url: string): Promise<string> {
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(BODY),
  });
  if (response.status !== 202)
    throw new Error(`POST ${url}/v1/jobs: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { id: string }).id;
}

/** An API key with every limit, all too high to be reached. `put` stores it in an emptied Redis. */
async function limitedKey(redis: Redis): Promise<{ secret: string; put(): Promise<void> }> {
  const keys = new RedisKeys(PREFIX);
  const limit = 1_000_000_000;
  const { secret }: { secret: string; key: ApiKey } = await new ApiKeys(redis, keys).create(
    {
      name: 'bench',
      tenant: 'bench',
      scopes: ['admin'],
      limits: {
        ...NO_LIMITS,
        requestsPerMinute: limit,
        queuedJobs: limit,
        imagesPerDay: 1e12,
        storedBytes: 1e15,
      },
      expiresAt: null,
    },
    new Date(),
  );
  const [hash, entry] = Object.entries(await redis.hgetall(keys.apiKeys()))[0];
  await redis.del(keys.apiKeys());
  return {
    secret,
    put: async () => {
      await redis.hset(keys.apiKeys(), hash, entry);
    },
  };
}
