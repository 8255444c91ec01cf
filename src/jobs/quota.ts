import { ProblemError } from './problem.ts';
import type { TenantStore } from './store.ts';

/** Milliseconds after which work whose acceptance was broken off counts no more. */
const PATIENCE = 10_000;
const TWO_DAYS = 172_800;

/**
 * Counts work in, or tells which limit it would pass (ARGV: `limits`, -1 for none). What is being accepted, and is not in the queue
 * yet, counts as waiting: requests that come at the same time can't pass a limit together.
 */
const ADMIT = `
local optimize, sample, admitted, images, stored = unpack(KEYS)
local tenant, id, wanted, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most_queued, most_images, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local bytes = tonumber(redis.call('HGET', stored, tenant) or '0')
if most_bytes >= 0 and bytes >= most_bytes then return {'bytes', bytes} end
redis.call('ZREMRANGEBYSCORE', admitted, '-inf', now - ${PATIENCE})
local queued = redis.call('ZCARD', optimize) + redis.call('ZCARD', sample)
for _, other in ipairs(redis.call('ZRANGE', admitted, 0, -1)) do
  if not redis.call('ZSCORE', optimize, other) and not redis.call('ZSCORE', sample, other) then queued = queued + 1 end
end
if most_queued >= 0 and queued >= most_queued then return {'queued', queued} end
local asked = tonumber(redis.call('GET', images) or '0')
if most_images >= 0 and asked + wanted > most_images then return {'images', asked} end
redis.call('ZADD', admitted, now, id)
redis.call('INCRBY', images, wanted)
redis.call('EXPIRE', images, ${TWO_DAYS})
return {'ok', 0}
`;

/**
 * Accepts work that fits into the limits of the tenant; what fails is not counted, nor what `accept` says was there already.
 * @param images that it may make in all
 * @throws ProblemError `quota-exceeded`
 */
export async function withinQuota(
  store: TenantStore,
  { id, images }: { readonly id: string; readonly images: number },
  accept: () => Promise<boolean>,
): Promise<void> {
  const { redis, keys, tenant, limits } = store;
  if (limits === null) {
    await accept();
    return;
  }
  const now = new Date();
  const asked = keys.imagesAsked(tenant, now.toISOString().slice(0, 10));
  const [verdict, used] = (await redis.eval(
    ADMIT,
    5,
    `${keys.turns('optimize')}waiting:${tenant}`,
    `${keys.turns('sample')}waiting:${tenant}`,
    keys.admitted(tenant),
    asked,
    keys.storedBytes(),
    tenant,
    id,
    images,
    now.getTime(),
    limits.queuedJobs ?? -1,
    limits.imagesPerDay ?? -1,
    limits.storedBytes ?? -1,
  )) as [string, number];
  if (verdict === 'queued')
    throw exceeded(
      `${used} jobs and samples of yours wait already, and your key allows ${limits.queuedJobs}. Wait for one to begin, or cancel one.`,
      10,
    );
  if (verdict === 'images')
    throw exceeded(
      `This asks for up to ${images} images. Your key allows ${limits.imagesPerDay} a day (UTC), and ${used} of today's are asked for already. Ask for fewer, or tomorrow.`,
      Math.ceil((86_400_000 - (now.getTime() % 86_400_000)) / 1000),
    );
  if (verdict === 'bytes') throw outOfSpace(used, limits.storedBytes);
  try {
    if (!(await accept())) await redis.decrby(asked, images);
  } catch (error) {
    // With Redis away it stays counted: on the safe side.
    await redis.decrby(asked, images).catch(() => {});
    throw error;
  } finally {
    await redis.zrem(keys.admitted(tenant), id).catch(() => {});
  }
}

/**
 * Whether a file of so many bytes may be stored for the tenant.
 * @throws ProblemError `quota-exceeded`
 */
export async function checkSpace({ redis, keys, tenant, limits }: TenantStore, bytes: number): Promise<void> {
  if (limits === null || limits.storedBytes === null) return;
  const used = Number((await redis.hget(keys.storedBytes(), tenant)) ?? 0);
  if (used + bytes > limits.storedBytes) throw outOfSpace(used, limits.storedBytes);
}

function outOfSpace(used: number, limit: number | null): ProblemError {
  return exceeded(
    `Your policies and images take ${used} bytes, and your key allows ${limit}. Delete policies that are not needed any more.`,
    3600,
  );
}

function exceeded(detail: string, retryAfter: number): ProblemError {
  return new ProblemError('quota-exceeded', detail, undefined, retryAfter);
}
