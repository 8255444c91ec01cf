import type { Redis } from 'ioredis';
import { RedisKeys } from '../../src/redis/keys.ts';
import { type ApiKey, ApiKeys } from '../../src/tenancy/api-keys.ts';
import { type Comparison, type Contender, compare } from './compare.ts';
import type { Options } from './options.ts';
import type { Server } from './servers.ts';

/** What is asked for; the same of both. */
export const BODY = { prompt: 'a red book and a yellow vase', seed: 7 };
/** Jobs that are there to be read. */
const JOBS = 100;
const PREFIX = 'findery';

interface Setting {
  readonly service: Server;
  readonly bare: Server;
  readonly redis: Redis;
  readonly options: Options;
}

/** POST of jobs: the bare handler, the service, and the service asked with a key that has every limit. */
export async function comparePosts({ service, bare, redis, options }: Setting): Promise<Comparison[]> {
  const { connections, seconds, rounds } = options;
  const load = { method: 'POST', paths: ['/v1/jobs'], body: BODY, connections, seconds } as const;
  const key = await limitedKey(redis);
  const contenders: Contender[] = [
    { name: 'bare queue.add', server: bare, load },
    { name: 'service', server: service, load },
  ];
  const keyless = await compare(contenders, rounds, redis);
  await key.put();
  const withKey = { ...load, headers: { authorization: `Bearer ${key.secret}` } };
  const [, keyed] = await compare(
    [
      contenders[0],
      { name: 'service, by a key with limits', server: service, load: withKey, prepare: key.put },
    ],
    rounds,
    redis,
  );
  return [...keyless, keyed];
}

/** GET of jobs that wait: each handler reads its own. */
export async function compareGets({ service, bare, redis, options }: Setting): Promise<Comparison[]> {
  const { connections, seconds, rounds } = options;
  const contender = (name: string, server: Server): Contender => {
    const paths: string[] = [];
    return {
      name,
      server,
      load: { paths, connections, seconds },
      async prepare() {
        paths.length = 0;
        for (let i = 0; i < JOBS; i++) paths.push(`/v1/jobs/${await queueOne(server.url)}`);
      },
    };
  };
  return compare([contender('bare queue.getJob', bare), contender('service', service)], rounds, redis);
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

/** A key whose limits are all set, and high enough; `put` puts it into a Redis that was emptied. */
async function limitedKey(redis: Redis): Promise<{ secret: string; put(): Promise<void> }> {
  const keys = new RedisKeys(PREFIX);
  const most = 1_000_000_000;
  const { secret }: { secret: string; key: ApiKey } = await new ApiKeys(redis, keys).create(
    {
      name: 'bench',
      tenant: 'bench',
      scopes: ['admin'],
      limits: { requestsPerMinute: most, queuedJobs: most, imagesPerDay: 1e12, storedBytes: 1e15 },
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
