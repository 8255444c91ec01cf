import { isIP } from 'node:net';
import { delimiter, resolve } from 'node:path';
import { AllowedTargets } from './allowed-targets.ts';
import { parseS3, type S3Place } from './storage-place.ts';

/** Turns the text of an environment variable into a value. */
export interface Parser<Value> {
  /**
   * The accepted values, as the end of a sentence: "it takes ..." in errors, a column in the docs.
   */
  readonly accepts: string;
  /**
   * @param text trimmed; '' when the variable is not set and its setting has no default
   * @throws InvalidValueError when the text is not an accepted value
   */
  parse(text: string): Value;
}

/** The text of a variable is not usable. The message completes "VARIABLE ...", such as `is "x"`. */
export class InvalidValueError extends Error {
  override readonly name = 'InvalidValueError';
  /** The rule that the text breaks, when it is narrower than `Parser.accepts`. */
  readonly accepts: string | undefined;

  constructor(message: string, accepts?: string) {
    super(message);
    this.accepts = accepts;
  }
}

/** Any text, or only those that match `pattern`. `accepts` describes them. */
export function text(accepts: string, pattern = /^/): Parser<string> {
  return {
    accepts,
    parse(given) {
      if (!pattern.test(given)) throw new InvalidValueError(`is "${given}"`);
      return given;
    },
  };
}

/** A whole number from `minimum` to `maximum`, both included. */
export function integer(minimum: number, maximum: number): Parser<number> {
  return {
    accepts: `a whole number from ${minimum} to ${maximum}`,
    parse(given) {
      const value = Number(given);
      if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
      throw new InvalidValueError(`is "${given}"`);
    },
  };
}

/** One of `words`. */
export function oneOf<const Word extends string>(...words: readonly Word[]): Parser<Word> {
  return {
    accepts: orList(words),
    parse(given) {
      const word = words.find((each) => each === given);
      if (word === undefined) throw new InvalidValueError(`is "${given}"`);
      return word;
    },
  };
}

/** What `parser` reads; null when the variable is not set. */
export function optional<Value>(parser: Parser<Value>): Parser<Value | null> {
  return { accepts: parser.accepts, parse: (given) => (given === '' ? null : parser.parse(given)) };
}

/**
 * The entries of a list separated by commas, trimmed, without empty ones. `isValid` is asked for
 * each.
 */
export function list(accepts: string, isValid: (entry: string) => boolean): Parser<readonly string[]> {
  return {
    accepts: `${accepts}, separated by commas`,
    parse(given) {
      const entries = splitList(given).filter(Boolean);
      refuseEntries(entries.filter((entry) => !isValid(entry)));
      return entries;
    },
  };
}

/** A folder as an absolute path; relative ones start at the working directory. */
export const folder: Parser<string> = { accepts: 'a folder', parse: (given) => resolve(given) };

/** Folders as absolute paths, separated as in PATH. */
export const folders: Parser<readonly string[]> = {
  accepts: 'folders, separated as in PATH',
  parse: (given) =>
    given
      .split(delimiter)
      .filter(Boolean)
      .map((path) => resolve(path)),
};

/** Hosts with or without a port, then the name of the primary and a database. */
const SENTINEL_URL = /^rediss?-sentinel:\/\/([^@/]*@)?[^@/?,]+(,[^@/?,]+)*\/[^/?]+(\/\d+)?(\?.*)?$/i;

/** The address of a Redis. Errors leave the address out: it may hold a password. */
export const redisAddress: Parser<string> = {
  accepts:
    'redis://, rediss://, redis-sentinel://host:port,host:port/NAME, rediss-sentinel://, ' +
    'or the path of a unix socket',
  parse(given) {
    if (/^(rediss?|unix):\/\/|^\//.test(given) || SENTINEL_URL.test(given)) return given;
    throw new InvalidValueError('has an unknown form');
  },
};

/** The address of an HTTP service. */
export const httpAddress: Parser<string> = {
  accepts: 'an http:// or https:// address',
  parse(given) {
    if (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)) return given;
    throw new InvalidValueError('has an unknown form');
  },
};

/** Headers of HTTP requests. Errors leave the values out: they may be secrets. */
export const headers: Parser<{ readonly [name: string]: string }> = {
  accepts: 'name=value, separated by commas',
  parse(given) {
    const entries = splitList(given).filter(Boolean);
    const pairs = entries.map((entry) => /^([!#$%&'*+.^_`|~\w-]+) *= *([\x21-\x7e]*)$/.exec(entry));
    if (pairs.includes(null)) throw new InvalidValueError('has an unknown form');
    try {
      return Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? '', decodeURIComponent(pair?.[2] ?? '')]));
    } catch {
      throw new InvalidValueError('has a value that is not percent-encoded');
    }
  },
};

/** A file as an absolute path. */
export const file: Parser<string> = { accepts: 'a file', parse: (given) => resolve(given) };

/** true or false. */
export const yesOrNo: Parser<boolean> = {
  accepts: 'true or false',
  parse(given) {
    if (given !== 'true' && given !== 'false') throw new InvalidValueError(`is "${given}"`);
    return given === 'true';
  },
};

/** Where blobs are stored: null stands for files in the data folder. */
export const storage: Parser<S3Place | null> = {
  accepts: '"file", or s3://bucket or s3://bucket/prefix (letters, digits, ".", "_", "-" and "/")',
  parse(given) {
    if (given === 'file') return null;
    const place = parseS3(given);
    if (place === null) throw new InvalidValueError(`is "${given}"`);
    return { bucket: place.bucket, prefix: place.prefix };
  },
};

const PROVIDERS = ['cuda', 'tensorrt', 'webgpu', 'coreml', 'dml', 'cpu'];

/**
 * ONNX Runtime execution providers, first choice first. `cpu` is always available, so it comes
 * last.
 */
export const executionProviders: Parser<readonly string[]> = {
  accepts: `one or more of ${PROVIDERS.join(', ')}, separated by commas`,
  parse(given) {
    const providers = splitList(given);
    refuseEntries(providers.filter((provider) => !PROVIDERS.includes(provider)));
    if (new Set(providers).size < providers.length)
      throw new InvalidValueError(`is "${providers.join(',')}"`, 'each provider once');
    if (providers.slice(0, -1).includes('cpu')) {
      throw new InvalidValueError(
        `is "${providers.join(',')}"`,
        'cpu only as the last provider, because providers after it would never be used',
      );
    }
    return providers;
  },
};

const WARM_WORDS = ['first', 'all', 'none'] as const;
type WarmWord = (typeof WARM_WORDS)[number];

/** Models to open at the start of a worker: one word for a choice, or their names. */
export const warmModels: Parser<WarmWord | readonly string[]> = {
  accepts: 'first, all, none, or names of models, separated by commas',
  parse(given) {
    const names = splitList(given).filter(Boolean);
    return (names.length === 1 && WARM_WORDS.find((word) => word === names[0])) || names;
  },
};

const PROXY_WORDS = ['loopback', 'linklocal', 'uniquelocal'];

/** Proxies: IP addresses, CIDRs or a name for a range. */
export const proxies = list(
  `addresses, CIDRs (not /0, with which any client could claim any address), ${PROXY_WORDS.join(', ')}`,
  isProxy,
);

/** Origins of web pages, as browsers send them, or `*`. */
export const origins = list(
  'origins such as https://app.example.com (no path, no slash at the end), or *',
  (entry) => entry === '*' || (URL.canParse(entry) && new URL(entry).origin === entry),
);

/** Targets of webhooks that are allowed although they are not public (`AllowedTargets`). */
export const webhookTargets: Parser<readonly string[]> = {
  accepts: 'addresses, CIDRs and host names, separated by commas',
  parse(given) {
    const entries = splitList(given).filter(Boolean);
    const reasons = entries.map(reasonAgainstTarget).filter((reason) => reason !== null);
    if (reasons.length > 0) throw new InvalidValueError(`is not usable: ${reasons.join('; ')}`);
    return entries;
  },
};

function reasonAgainstTarget(entry: string): string | null {
  try {
    new AllowedTargets([entry]);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function isProxy(entry: string): boolean {
  if (PROXY_WORDS.includes(entry)) return true;
  const [address, bits, ...rest] = entry.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

function splitList(text: string): string[] {
  return text.split(',').map((entry) => entry.trim());
}

/** @throws InvalidValueError that names `entries`, if there are any */
function refuseEntries(entries: readonly string[]): void {
  if (entries.length === 0) return;
  throw new InvalidValueError(`holds ${entries.map((entry) => `"${entry}"`).join(' and ')}`);
}

function orList(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
