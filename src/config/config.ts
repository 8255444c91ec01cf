import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { AllowedTargets } from './allowed-targets.ts';
import { parseS3, type StoragePlace } from './storage-place.ts';

/** Every setting of a findery process, read once at its start. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Redis to use; null: start a private one (`npm start`, `npm run demo`) or refuse (`npm run api`, `npm run worker`). */
  readonly redisUrl: string | null;
  /** Prefix of every key in Redis, so that several services can share one. */
  readonly redisPrefix: string;
  /** Folder of blobs: policies, images, checkpoints; and of the private Redis. */
  readonly dataFolder: string;
  /** Bucket of blobs; null: they are files below the data folder. */
  readonly s3: { readonly bucket: string; readonly prefix: string } | null;
  /** Days that ended jobs, samples and policies that nobody draws from are kept; null: for ever. */
  readonly keepDays: number | null;
  /** Most ended jobs, with what they made, that are kept; null: all. */
  readonly keepJobs: number | null;
  /** Most ended sample batches, with their images, that are kept; null: all. */
  readonly keepSamples: number | null;
  /** Folders whose subfolders are models and rewards: those of FINDERY_MODELS, the data folder's own, the embedded ones. */
  readonly modelFolders: readonly string[];
  /** ONNX Runtime execution providers: the first that is to be had is used. `cpu` can only be the last. */
  readonly executionProviders: readonly string[];
  /** Number of the GPU, for providers that go by numbers (cuda, tensorrt, dml). */
  readonly deviceId: number;
  /** Threads of one graph run. */
  readonly threads: number;
  /** Most draws in one graph run. */
  readonly batchSize: number;
  /** Most models whose graphs stay open at a time, and as many rewards. */
  readonly modelsInMemory: number;
  /** Models that are opened and run once before jobs are taken: names, or the first one installed, or all, or none. */
  readonly warm: 'first' | 'all' | 'none' | readonly string[];
  /** Optimisation jobs that one worker runs at the same time. */
  readonly concurrency: number;
  /** Seconds after which a job of a dead worker, or a delivery of a dead API, is given to another one. */
  readonly lockSeconds: number;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** When the API asks for keys: as soon as there are any, and always where others than this machine reach it; always; never. */
  readonly keys: 'auto' | 'required' | 'off';
  /** Proxies that are believed about where a request comes from: addresses, CIDRs, `loopback`, `linklocal`, `uniquelocal`. */
  readonly trustProxy: readonly string[];
  /** Most requests in a minute from one address with keys that do not count; 0: no limit. */
  readonly failedKeys: number;
  /** Origins whose pages may read answers, as `https://app.example.com`; `*`: any. */
  readonly corsOrigins: readonly string[];
  /** Largest JSON body, bytes. */
  readonly bodyLimit: number;
  /** Largest policy file that may be imported, bytes. */
  readonly importLimit: number;
  /** Seconds in which a whole request has to arrive. */
  readonly requestSeconds: number;
  /** Targets of webhooks beyond the public internet: addresses, CIDRs, names of hosts. */
  readonly webhookAllow: readonly string[];
  /** Seconds before the second attempt of a webhook's delivery. */
  readonly webhookRetrySeconds: number;
}

/** Raised once with everything that is wrong in the environment. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The folder of the bundles that come with the program. */
export const EMBEDDED_MODELS = resolve(import.meta.dirname, '..', '..', 'models');
/** The largest limits of what is kept, for all (FINDERY_KEEP_*) and for a tenant (`findery keep`). */
export const MAX_RETENTION = { days: 36_500, jobs: 100_000_000, samples: 100_000_000 } as const;
const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
const PROVIDERS = ['cuda', 'tensorrt', 'webgpu', 'coreml', 'dml', 'cpu'];

/**
 * The configuration from environment variables (`VARIABLES`).
 * @throws ConfigError naming every variable with an unusable value and what it accepts.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const wrong: string[] = [];
  const text = (name: string, fallback: string) => environment[name]?.trim() || fallback;
  const integer = (name: string, fallback: number, minimum: number, maximum: number) => {
    const given = text(name, String(fallback));
    const value = Number(given);
    if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    wrong.push(`${name} is "${given}"; it takes a whole number from ${minimum} to ${maximum}`);
    return fallback;
  };

  const list = (name: string) =>
    text(name, '')
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean);
  const most = (name: string, maximum: number) =>
    text(name, '') === '' ? null : integer(name, 1, 1, maximum);

  const redisPrefix = text('FINDERY_REDIS_PREFIX', 'findery');
  if (!/^[A-Za-z0-9_-]+$/.test(redisPrefix)) {
    wrong.push(`FINDERY_REDIS_PREFIX is "${redisPrefix}"; it takes letters, digits, "-" and "_"`);
  }
  const redisUrl = text('REDIS_URL', '') || null;
  if (redisUrl !== null && !/^(rediss?|unix):\/\/|^\//.test(redisUrl)) {
    wrong.push('REDIS_URL has an unknown form; it takes redis://, rediss:// or the path of a unix socket');
  }
  const logLevel = text('LOG_LEVEL', 'info');
  if (!isLogLevel(logLevel)) wrong.push(`LOG_LEVEL is "${logLevel}"; it takes ${LOG_LEVELS.join(', ')}`);
  const executionProviders = text('FINDERY_PROVIDERS', 'cpu')
    .split(',')
    .map((name) => name.trim());
  for (const provider of executionProviders) {
    if (!PROVIDERS.includes(provider))
      wrong.push(`FINDERY_PROVIDERS holds "${provider}"; it takes ${PROVIDERS.join(', ')}`);
  }
  if (executionProviders.every((provider) => PROVIDERS.includes(provider))) {
    if (new Set(executionProviders).size < executionProviders.length)
      wrong.push(`FINDERY_PROVIDERS is "${executionProviders.join(',')}"; it takes each provider once`);
    else if (executionProviders.slice(0, -1).includes('cpu'))
      wrong.push(
        `FINDERY_PROVIDERS is "${executionProviders.join(',')}"; it takes cpu as the last one only, for the CPU is always there and what comes after it would never be used`,
      );
  }
  const warm = text('FINDERY_WARM', 'first')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);

  const keys = text('FINDERY_KEYS', 'auto');
  if (!isKeysWord(keys)) wrong.push(`FINDERY_KEYS is "${keys}"; it takes auto, required or off`);
  const trustProxy = list('FINDERY_TRUST_PROXY');
  for (const entry of trustProxy) {
    if (!isProxy(entry))
      wrong.push(
        `FINDERY_TRUST_PROXY holds "${entry}"; it takes addresses, CIDRs (not /0: then anybody could claim any address), ${PROXY_WORDS.join(', ')}`,
      );
  }
  const corsOrigins = list('FINDERY_CORS_ORIGINS');
  for (const origin of corsOrigins) {
    if (origin !== '*' && !(URL.canParse(origin) && new URL(origin).origin === origin))
      wrong.push(
        `FINDERY_CORS_ORIGINS holds "${origin}"; it takes origins, as https://app.example.com (no path, no slash at the end), or *`,
      );
  }

  const webhookAllow = list('FINDERY_WEBHOOK_ALLOW');
  for (const entry of webhookAllow) {
    try {
      new AllowedTargets([entry]);
    } catch (error) {
      wrong.push(
        `FINDERY_WEBHOOK_ALLOW can't be used: ${(error as Error).message}; it takes addresses, CIDRs and names of hosts, separated by commas`,
      );
    }
  }

  const storage = text('FINDERY_STORAGE', 'file');
  const s3 = parseS3(storage);
  if (storage !== 'file' && s3 === null)
    wrong.push(
      `FINDERY_STORAGE is "${storage}"; it takes "file", or s3://bucket or s3://bucket/prefix (letters, digits, ".", "_", "-" and "/")`,
    );

  const dataFolder = resolve(text('FINDERY_DATA', '.findery'));
  const config: Config = {
    host: text('HOST', '127.0.0.1'),
    port: integer('PORT', 8080, 0, 65535),
    redisUrl,
    redisPrefix,
    dataFolder,
    s3: s3 && { bucket: s3.bucket, prefix: s3.prefix },
    keepDays: most('FINDERY_KEEP_DAYS', MAX_RETENTION.days),
    keepJobs: most('FINDERY_KEEP_JOBS', MAX_RETENTION.jobs),
    keepSamples: most('FINDERY_KEEP_SAMPLES', MAX_RETENTION.samples),
    modelFolders: [
      ...text('FINDERY_MODELS', '')
        .split(delimiter)
        .filter(Boolean)
        .map((folder) => resolve(folder)),
      ownModelFolder({ dataFolder }),
      EMBEDDED_MODELS,
    ],
    executionProviders,
    deviceId: integer('FINDERY_DEVICE', 0, 0, 255),
    threads: integer('FINDERY_THREADS', Math.min(256, availableParallelism()), 1, 256),
    batchSize: integer('FINDERY_BATCH', 8, 1, 256),
    modelsInMemory: integer('FINDERY_MODELS_IN_MEMORY', 2, 1, 64),
    warm: warm.length === 1 && isWarmWord(warm[0]) ? warm[0] : warm,
    concurrency: integer('FINDERY_CONCURRENCY', 1, 1, 64),
    lockSeconds: integer('FINDERY_LOCK_SECONDS', 15, 2, 600),
    logLevel: isLogLevel(logLevel) ? logLevel : 'info',
    keys: isKeysWord(keys) ? keys : 'required',
    trustProxy,
    failedKeys: integer('FINDERY_FAILED_KEYS', 30, 0, 1e6),
    corsOrigins,
    bodyLimit: integer('FINDERY_BODY_LIMIT', 65536, 1024, 2 ** 30),
    importLimit: integer('FINDERY_IMPORT_LIMIT', 64 * 2 ** 20, 1024, 2 ** 31 - 1),
    requestSeconds: integer('FINDERY_REQUEST_SECONDS', 120, 1, 3600),
    webhookAllow,
    webhookRetrySeconds: integer('FINDERY_WEBHOOK_RETRY_SECONDS', 6, 1, 3600),
  };
  if (wrong.length > 0) throw new ConfigError(`The environment can't be used:\n  - ${wrong.join('\n  - ')}`);
  return config;
}

/** Where `findery models add` puts bundles when FINDERY_MODELS names no folder. */
export function ownModelFolder({ dataFolder }: Pick<Config, 'dataFolder'>): string {
  return join(dataFolder, 'models');
}

/** The folder of blobs inside the data folder; the private Redis keeps its files beside it. */
export function blobFolder(config: Config): string {
  return join(config.dataFolder, 'blobs');
}

/** Where blobs lie, for `openBlobs`. */
export function storagePlace(config: Config): StoragePlace {
  return config.s3 ? { type: 's3', ...config.s3 } : { type: 'file', folder: blobFolder(config) };
}

function isWarmWord(value: string): value is 'first' | 'all' | 'none' {
  return ['first', 'all', 'none'].includes(value);
}

function isKeysWord(value: string): value is Config['keys'] {
  return ['auto', 'required', 'off'].includes(value);
}

const PROXY_WORDS = ['loopback', 'linklocal', 'uniquelocal'];

function isProxy(entry: string): boolean {
  if (PROXY_WORDS.includes(entry)) return true;
  const [address, bits, ...rest] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

function isLogLevel(value: string): value is Config['logLevel'] {
  return (LOG_LEVELS as readonly string[]).includes(value);
}
