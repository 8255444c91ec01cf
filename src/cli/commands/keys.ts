import { parseArgs } from 'node:util';
import { type Config, readConfig } from '../../config/config.ts';
import { DEFAULT_TENANT } from '../../contract/tenants.ts';
import { connectRedis } from '../../redis/connection.ts';
import { RedisKeys } from '../../redis/keys.ts';
import { type ApiKey, ApiKeys, type Limits, SCOPES, type Scope } from '../../tenancy/api-keys.ts';
import { ensureRedis } from '../redis/ensure-redis.ts';
import { findPrivateRedis } from '../redis/private-redis.ts';
import { table } from '../table.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'keys that the API asks for: make, list, replace, revoke';
export const usage = `Usage: findery keys create [--name NAME] [--tenant TENANT] [--scopes read,jobs:write,samples:write,admin]
                           [--days N] [--requests N] [--queued N] [--images N] [--bytes N]
       findery keys list [--json]
       findery keys rotate ID [--grace HOURS]
       findery keys revoke ID

  create   makes a key and prints it, once: only its hash is kept. It belongs to TENANT (default: ${DEFAULT_TENANT}); tenants see nothing of
           each other. --scopes is what it allows (default: read,jobs:write,samples:write; admin allows all). It ends after --days (default:
           never). Its limits: --requests a minute (default: 600), and, counted over all keys of the tenant, --queued jobs and samples
           that wait, --images asked for a day (UTC), --bytes in storage; "none" for no limit (the default of these three).
  list     what there is, without the keys themselves, and when each was last used
  rotate   makes another key like that one, prints it, and lets the old one count for --grace hours more (default: 24)
  revoke   ends one; a running service refuses it within a second. The last key's end opens no door.

Works on the Redis of REDIS_URL, else on the private one in FINDERY_DATA, whether a service runs on it at the moment or not.`;

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
        action === undefined ? 'What is to be done with keys?' : `There is no "keys ${action}".`,
      );
  }
}

async function create(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { values } = parse(args, 0, {
    name: 'string',
    tenant: 'string',
    scopes: 'string',
    days: 'string',
    requests: 'string',
    queued: 'string',
    images: 'string',
    bytes: 'string',
  });
  const now = new Date();
  const days = wholeNumber('days', values.days, null);
  const limits: Limits = {
    requestsPerMinute: wholeNumber('requests', values.requests, 600),
    queuedJobs: wholeNumber('queued', values.queued, null),
    imagesPerDay: wholeNumber('images', values.images, null),
    storedBytes: wholeNumber('bytes', values.bytes, null),
  };
  const { tenant = DEFAULT_TENANT, name = tenant } = values;
  const expiresAt = days === null ? null : new Date(now.getTime() + days * 86_400_000).toISOString();
  const wanted = { name, tenant, scopes: readScopes(values.scopes), limits, expiresAt };
  const { secret, key } = await keys.create(wanted, now).catch((error: unknown) => {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  });
  show(secret, key);
  return 0;
}

async function list(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { values } = parse(args, 0, { json: 'boolean' });
  const all = await keys.list();
  if (values.json) console.log(JSON.stringify(all, null, 2));
  else
    console.log(all.length > 0 ? table(all.map(row)) : 'There are no keys. findery keys create makes one.');
  return 0;
}

async function rotate(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { values, id } = parse(args, 1, { grace: 'string' });
  const hours = wholeNumber('grace', values.grace, 24) ?? 24;
  const now = new Date();
  const old = (await keys.list()).find((key) => key.id === id);
  if (!old || stateOf(old, now) !== 'valid') throw noSuchKey(id);
  const { name, tenant, scopes, limits, expiresAt } = old;
  const { secret, key } = await keys.create({ name, tenant, scopes, limits, expiresAt }, now);
  const end = new Date(now.getTime() + hours * 3_600_000).toISOString();
  await keys.change(id, { expiresAt: expiresAt !== null && expiresAt < end ? expiresAt : end });
  show(secret, key);
  console.error(`The old one, ${id}, counts until ${end}.`);
  return 0;
}

async function revoke(keys: ApiKeys, args: readonly string[]): Promise<number> {
  const { id } = parse(args, 1, {});
  const key = await keys.change(id, { revokedAt: new Date().toISOString() });
  if (!key) throw noSuchKey(id);
  console.log(`${id} (${key.name}, tenant ${key.tenant}) is revoked.`);
  return 0;
}

/** The key alone goes to standard output, for scripts. */
function show(secret: string, { id, tenant, scopes, expiresAt }: ApiKey): void {
  const end = expiresAt === null ? '' : `, until ${expiresAt}`;
  console.error(`${id} of the tenant ${tenant}, for ${scopes.join(', ')}${end}. It is shown this once:`);
  console.log(secret);
}

function row(key: ApiKey & { readonly lastUsedAt: string | null }): { [column: string]: string } {
  const { requestsPerMinute, queuedJobs, imagesPerDay, storedBytes } = key.limits;
  const number = (value: number | null) => (value === null ? '-' : String(value));
  return {
    key: key.id,
    name: key.name,
    tenant: key.tenant,
    scopes: key.scopes.join(','),
    state: stateOf(key, new Date()),
    'requests/min': number(requestsPerMinute),
    queued: number(queuedJobs),
    'images/day': number(imagesPerDay),
    bytes: number(storedBytes),
    created: key.createdAt,
    ends: key.expiresAt ?? '-',
    'last used': key.lastUsedAt ?? 'never',
  };
}

function stateOf({ revokedAt, expiresAt }: ApiKey, now: Date): 'valid' | 'revoked' | 'ended' {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && Date.parse(expiresAt) <= now.getTime() ? 'ended' : 'valid';
}

function noSuchKey(id: string): Error {
  return new Error(`There is no valid key ${id}; findery keys list shows those that there are.`);
}

function readScopes(text: string | undefined): Scope[] {
  if (text === undefined) return ['read', 'jobs:write', 'samples:write'];
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

function parse<const T extends { readonly [name: string]: 'string' | 'boolean' }>(
  args: readonly string[],
  ids: 0 | 1,
  types: T,
): { values: { [K in keyof T]?: T[K] extends 'boolean' ? boolean : string }; id: string } {
  const options = Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { type }]));
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    if (positionals.length !== ids)
      throw new Error(
        ids === 0 ? `"${positionals[0]}" is not understood here` : 'Which key? Give its id (key_...)',
      );
    return { values: values as never, id: positionals[0] ?? '' };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Opens the keys of the service that the environment describes. */
async function withKeys<T>(work: (keys: ApiKeys) => Promise<T>): Promise<T> {
  const config = readConfig(process.env);
  const service = await findRedis(config);
  const redis = connectRedis(service.url, { failFast: true });
  redis.on('error', () => {}); // what fails because of it says so
  try {
    return await work(new ApiKeys(redis, new RedisKeys(config.redisPrefix)));
  } finally {
    redis.disconnect();
    await service.stop();
  }
}

/** The given Redis, the private one of a service that runs, or else that of the data folder, started for this alone. */
async function findRedis({ redisUrl, dataFolder }: Config): Promise<{ url: string; stop(): Promise<void> }> {
  const running = redisUrl === null ? await findPrivateRedis(dataFolder) : null;
  if (running !== null) return { url: running, stop: async () => {} };
  return ensureRedis({ url: redisUrl, dataDir: dataFolder, log: () => {} });
}
