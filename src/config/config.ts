import { join, resolve } from 'node:path';
import { InvalidValueError } from './parsers.ts';
import { SETTINGS, type Setting } from './settings.ts';
import type { StoragePlace } from './storage-place.ts';

/**
 * Every setting of a findery process, read once at its start. `SETTINGS` describes each one. `null`
 * stands for a setting without a value: no limit, or for `s3` the data folder, for `redisUrl` a
 * private Redis. `modelFolders` also holds `ownModelFolder` and `EMBEDDED_MODELS`.
 */
export type Config = {
  readonly [Name in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[Name]['value']['parse']>;
};

/** The environment holds unusable values. The message names all of them. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The folder of the bundles that come with the program. */
export const EMBEDDED_MODELS = resolve(import.meta.dirname, '..', '..', 'models');

/**
 * Reads the configuration from environment variables. A blank variable counts as not set.
 * @throws ConfigError that names every variable with an unusable value and says what it accepts
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const read = ([name, setting]: [string, Setting<unknown>]) => {
    try {
      return [name, setting.value.parse(environment[setting.variable]?.trim() || setting.default)];
    } catch (error) {
      if (!(error instanceof InvalidValueError)) throw error;
      const { message, accepts = setting.value.accepts } = error;
      problems.push(`${setting.variable} ${message}; it takes ${accepts}`);
      return [name, undefined];
    }
  };
  // Object.fromEntries loses which parser belongs to which name; `Config` is derived from the same
  // table.
  const config = Object.fromEntries(Object.entries(SETTINGS).map(read)) as Config;
  problems.push(...tlsProblems(config));
  if (problems.length > 0)
    throw new ConfigError(`The environment is not usable:\n  - ${problems.join('\n  - ')}`);
  return { ...config, modelFolders: [...config.modelFolders, ownModelFolder(config), EMBEDDED_MODELS] };
}

/** What is wrong with the files for TLS, as clauses of an error. */
function tlsProblems({ redisUrl, redisCa, redisCert, redisKey }: Config): string[] {
  const problems: string[] = [];
  if ((redisCa || redisCert || redisKey) && !/^rediss/i.test(redisUrl ?? ''))
    problems.push(
      'FINDERY_REDIS_CA, FINDERY_REDIS_CERT and FINDERY_REDIS_KEY need TLS; ' +
        'set REDIS_URL to rediss://... or rediss-sentinel://...',
    );
  if ((redisCert === null) !== (redisKey === null))
    problems.push('FINDERY_REDIS_CERT and FINDERY_REDIS_KEY belong together; set both');
  return problems;
}

/** The folder that `findery models add` writes bundles to when FINDERY_MODELS names no folder. */
export function ownModelFolder({ dataFolder }: Pick<Config, 'dataFolder'>): string {
  return join(dataFolder, 'models');
}

/** The folder of the libraries that `findery gpu setup` fetches. */
export function gpuFolder({ dataFolder, gpuLibraries }: Pick<Config, 'dataFolder' | 'gpuLibraries'>): string {
  return gpuLibraries ?? join(dataFolder, 'gpu');
}

/** The folder of blobs inside the data folder. The private Redis stores its files beside it. */
export function blobFolder(config: Config): string {
  return join(config.dataFolder, 'blobs');
}

/** Where blobs are stored, for `openBlobs`. */
export function storagePlace(config: Config): StoragePlace {
  return config.s3 ? { type: 's3', ...config.s3 } : { type: 'file', folder: blobFolder(config) };
}
