import type { ParseArgsConfig } from 'node:util';
import { type Config, readConfig, storagePlace } from '../../config/config.ts';
import { DEFAULT_SCOPES, SCOPES, type Scope } from '../../contract/scopes.ts';
import { DEFAULT_TENANT } from '../../contract/tenants.ts';
import { connectRedis } from '../../redis/connection.ts';
import { RedisKeys } from '../../redis/keys.ts';
import { rememberKeys } from '../../storage/keys-marker.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { type ApiKey, ApiKeys, keyState, type Limits } from '../../tenancy/api-keys.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { ensureRedis } from '../redis/ensure-redis.ts';
import { findPrivateRedis } from '../redis/private-redis.ts';
import { table } from '../table.ts';

export const summary = 'creates, lists, rotates and revokes API keys';
export const usage = `Usage: findery keys create [--name NAME] [--tenant TENANT]
                           [--scopes read,jobs:write,samples:write] [--days N]
                           [--requests N] [--queued N] [--running N] [--images N]
                           [--bytes N] [--job-images N] [--job-seconds N]
                           [--pixel-steps N]
       findery keys list [--json]
       findery keys rotate ID [--grace HOURS] [--scopes SCOPES]
       findery keys revoke ID

  create   creates a key and prints it. Only its hash is stored, so it cannot be shown again.
             --name      label in the list (default: the tenant)
             --tenant    owner of what the key creates (default: ${DEFAULT_TENANT}); tenants
                         cannot see each other's records
             --scopes    what the key allows (default: read,jobs:write,samples:write):
                         read            the records of the tenant
                         jobs:write      jobs and policies
                         samples:write   samples and images
                         webhooks:write  webhook endpoints, which receive all that ends
                         metrics:read    the numbers of the whole service, and no record
                         tenant-admin    everything of the tenant, nothing of others
                         admin           everything
             --days      days until the key expires (default: never)
             --requests  limit of requests a minute (default: 600)
           Limits of the tenant, counted over all its keys:
             --queued    queued jobs and samples
             --running   jobs that run at the same time; others wait
             --images    requested images a day (UTC)
             --bytes     bytes in storage
           Limits of the size of one job, or of one batch of samples:
             --job-images   images of search, report and samples
             --job-seconds  seconds of search (budget.seconds)
             --pixel-steps  width x height x steps of an image
           Each limit also takes "none", the default of the tenant's limits.
  list     lists the keys with their state and the time of their last use, without their secrets
  rotate   creates a key with the same rights, or with those of --scopes, prints it, and expires
           the old key after --grace hours (default: 24)
  revoke   revokes a key; a running service refuses it within a second. A service whose last key was
           revoked still requires a key.

Uses the Redis of REDIS_URL, or else the private Redis of FINDERY_DATA, whether a service is running or not.`;

/** `findery keys`. */
export async function run(args: readonly string[]): Promise<number> {
  const [action, ...rest] = args;
  switch (action) {
    case 'create':
      return withKeys((keys) => create(keys, rest));
    case 'list':
      return withKeys((keys) => list(keys, rest));
    case 'rotate':
      return withKeys((keys) => rotate(keys, rest));
    case 'revoke':
      return withKeys((keys) => revoke(keys, rest));
    default:
      throw new UsageError(
        action === undefined
          ? 'An action is missing: create, list, rotate or revoke.'
          : `There is no "keys ${action}"; it takes create, list, rotate or revoke.`,
      );
  }
}

async function create(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const string = { type: 'string' } as const;
  const { values } = parse(args, 0, {
    name: string,
    tenant: string,
    scopes: string,
    days: string,
    requests: string,
    queued: string,
    images: string,
    bytes: string,
    running: string,
    'job-images': string,
    'job-seconds': string,
    'pixel-steps': string,
  });
  const now = new Date();
  const days = wholeNumber('days', values.days, null);
  const limits: Limits = {
    requestsPerMinute: wholeNumber('requests', values.requests, 600),
    queuedJobs: wholeNumber('queued', values.queued, null),
    runningJobs: wholeNumber('running', values.running, null),
    imagesPerDay: wholeNumber('images', values.images, null),
    imagesPerJob: wholeNumber('job-images', values['job-images'], null),
    secondsPerJob: wholeNumber('job-seconds', values['job-seconds'], null),
    pixelStepsPerImage: wholeNumber('pixel-steps', values['pixel-steps'], null),
    storedBytes: wholeNumber('bytes', values.bytes, null),
  };
  const { tenant = DEFAULT_TENANT, name = tenant } = values;
  const expiresAt = days === null ? null : new Date(now.getTime() + days * 86_400_000).toISOString();
  const scopes = values.scopes === undefined ? DEFAULT_SCOPES : readScopes(values.scopes);
  const request = { name, tenant, scopes, limits, expiresAt };
  const { secret, key } = await keys.create(request, now).catch(toUsageError);
  printKey(secret, key);
  await noteThatThereAreKeys();
  return 0;
}

function toUsageError(error: unknown): never {
  throw error instanceof RangeError ? new UsageError(error.message) : error;
}

/** The key exists, so the command does not fail with storage; a service notes it when it starts. */
async function noteThatThereAreKeys(): Promise<void> {
  try {
    await rememberKeys(await openBlobs(storagePlace(readConfig(process.env))));
  } catch (error) {
    console.error(
      'Storage could not note that the service has keys, so a service whose Redis is lost would serve ' +
        `this machine without one. Start the service once. (${(error as Error).message})`,
    );
  }
}

async function list(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { values } = parse(args, 0, { json: { type: 'boolean' } });
  const all = await keys.list();
  if (values.json) console.log(JSON.stringify(all, null, 2));
  else
    console.log(all.length > 0 ? table(all.map(row)) : 'There are no keys. Create one: findery keys create.');
  return 0;
}

async function rotate(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { values, id } = parse(args, 1, { grace: { type: 'string' }, scopes: { type: 'string' } });
  const hours = wholeNumber('grace', values.grace, 24) ?? 24;
  const now = new Date();
  const scopes = values.scopes === undefined ? undefined : readScopes(values.scopes);
  const oldEnd = new Date(now.getTime() + hours * 3_600_000).toISOString();
  const rotated = await keys.rotate(id, { scopes, oldEnd }, now).catch(toUsageError);
  if (!rotated) throw noSuchKey(id);
  printKey(rotated.secret, rotated.key);
  console.error(`The old key ${id} is valid until ${rotated.oldEnd}.`);
  return 0;
}

async function revoke(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { id } = parse(args, 1, {});
  const key = await keys.update(id, { revokedAt: new Date().toISOString() });
  if (!key) throw noSuchKey(id);
  console.log(`${id} (${key.name}, tenant ${key.tenant}) is revoked.`);
  return 0;
}

/** Prints the secret to standard output, for scripts, and everything about it to standard error. */
function printKey(secret: string, { id, tenant, scopes, expiresAt }: ApiKey): void {
  const end = expiresAt === null ? '' : `, until ${expiresAt}`;
  console.error(`${id} of the tenant ${tenant}, for ${scopes.join(', ')}${end}. It cannot be shown again:`);
  console.log(secret);
}

function row(key: ApiKey & { readonly lastUsedAt: string | null }): { [column: string]: string } {
  const { requestsPerMinute, queuedJobs, runningJobs, imagesPerDay, storedBytes } = key.limits;
  const { imagesPerJob, secondsPerJob, pixelStepsPerImage } = key.limits;
  const number = (value: number | null) => (value === null ? '-' : String(value));
  return {
    key: key.id,
    name: key.name,
    tenant: key.tenant,
    scopes: key.scopes.join(','),
    state: keyState(key, new Date()),
    'requests/min': number(requestsPerMinute),
    queued: number(queuedJobs),
    running: number(runningJobs),
    'images/day': number(imagesPerDay),
    bytes: number(storedBytes),
    'job images': number(imagesPerJob),
    'job s': number(secondsPerJob),
    'pixel steps': number(pixelStepsPerImage),
    created: key.createdAt,
    ends: key.expiresAt ?? '-',
    'last used': key.lastUsedAt ?? 'never',
  };
}

function noSuchKey(id: string): Error {
  return new Error(`There is no valid key ${id}; findery keys list shows all keys.`);
}

function readScopes(text: string): readonly Scope[] {
  return text.split(',').map((word) => {
    const scope = SCOPES.find((known) => known === word.trim());
    if (scope) return scope;
    throw new UsageError(`--scopes holds "${word}"; it takes ${SCOPES.join(', ')}, separated by commas`);
  });
}

function wholeNumber(name: string, text: string | undefined, fallback: number | null): number | null {
  if (text === undefined) return fallback;
  if (text === 'none') return null;
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new UsageError(`--${name} is "${text}"; it takes a whole number, or none`);
}

/** The options of an action, and the id of its key if it takes one. */
function parse<const T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  ids: 0 | 1,
  options: T,
) {
  const { values, positionals } = parseArguments(args, { options, allowPositionals: true });
  if (positionals.length !== ids)
    throw new UsageError(
      ids === 0 ? `"${positionals[0]}" is not expected here` : 'Which key? Give one id (key_...)',
    );
  return { values, id: positionals[0] ?? '' };
}

/** Opens the API keys of the configured service. */
async function withKeys<T>(work: (keys: ApiKeys) => Promise<T>): Promise<T> {
  const config = readConfig(process.env);
  const service = await findRedis(config);
  const redis = connectRedis(service.url, { failFast: true, tls: config });
  redis.on('error', () => {}); // a failed command throws; ioredis must not log it too
  try {
    return await work(new ApiKeys(redis, new RedisKeys(config.redisPrefix)));
  } finally {
    redis.disconnect();
    await service.stop();
  }
}

/**
 * REDIS_URL, the private Redis of a running service, or else a private Redis for this command
 * alone.
 */
async function findRedis(config: Config): Promise<{ url: string; stop(): Promise<void> }> {
  const { redisUrl, dataFolder } = config;
  const running = redisUrl === null ? await findPrivateRedis(dataFolder) : null;
  if (running !== null) return { url: running, stop: async () => {} };
  return ensureRedis({ url: redisUrl, tls: config, dataDir: dataFolder, log: () => {} });
}
