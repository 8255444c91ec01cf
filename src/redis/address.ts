import { readFileSync } from 'node:fs';
import { Redis, type RedisOptions } from 'ioredis';
import { FollowingSentinelConnector } from './sentinel-connector.ts';

/** Files for TLS, as `Config` names them; null: none. They are read when a connection is opened. */
export interface RedisTlsFiles {
  /** PEM certificates of the authorities that are trusted instead of the system's. */
  readonly redisCa: string | null;
  /** PEM certificate that this client presents. */
  readonly redisCert: string | null;
  /** PEM private key of `redisCert`. */
  readonly redisKey: string | null;
}

/** The port of a Sentinel whose address has none. */
const SENTINEL_PORT = 26_379;

/** `redis-sentinel://[user:password@]host[:port],.../NAME[/db][?sentinelPassword=...]` */
const SENTINEL_URL = /^rediss?-sentinel:\/\/(?:([^@/]*)@)?([^@/?]+)\/([^/?]+)(?:\/(\d+))?(?:\?(.*))?$/i;

/**
 * The options of ioredis for a Redis behind Sentinels; null for any other URL.
 * @throws TypeError when the address of a Sentinel is no host and port
 */
export function parseSentinelUrl(url: string): RedisOptions | null {
  const found = SENTINEL_URL.exec(url);
  if (!found) return null;
  const [, credentials = '', hosts, name, db = '0', query = ''] = found;
  const colon = credentials.indexOf(':');
  const [username, password] =
    colon < 0 ? ['', credentials] : [credentials.slice(0, colon), credentials.slice(colon + 1)];
  const more = new URLSearchParams(query);
  const decoded = (text: string | null) => (text ? decodeURIComponent(text) : undefined);
  return {
    sentinels: hosts.split(',').map((host) => {
      const { hostname, port } = new URL(`redis://${host.trim()}`);
      return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || SENTINEL_PORT };
    }),
    name: decodeURIComponent(name),
    role: 'master',
    // Sentinels announce a failover. Without it, a connection to a machine that is gone would stay
    // open until TCP gives up.
    failoverDetector: true,
    Connector: FollowingSentinelConnector,
    username: decoded(username),
    password: decoded(password),
    db: Number(db),
    sentinelUsername: more.get('sentinelUsername') ?? undefined,
    sentinelPassword: more.get('sentinelPassword') ?? undefined,
  };
}

/**
 * Opens a connection to a URL as in REDIS_URL: redis://, rediss:// (TLS), redis-sentinel://,
 * rediss-sentinel:// (TLS to Sentinels and Redis), unix:// or the path of a unix socket (with
 * `?password=...` where it needs one).
 * @throws Error when a file of `files` can't be read
 */
export function openConnection(url: string, options: RedisOptions, files?: RedisTlsFiles): Redis {
  const tls = /^rediss/i.test(url) ? readTlsFiles(files) : null;
  const sentinel = parseSentinelUrl(url);
  if (sentinel)
    return new Redis({
      ...sentinel,
      ...(tls && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
      ...options,
    });
  const address = url.replace(/^unix:\/\//i, '');
  if (address.startsWith('/')) return new Redis({ ...parseSocketPath(address), ...options });
  return new Redis(address, { ...(tls && { tls }), ...options });
}

/**
 * The options of ioredis for `/path/of/socket[?username=...&password=...&db=...]`. ioredis itself
 * would read the path as a URL, in which a space is another character.
 */
function parseSocketPath(address: string): RedisOptions {
  const [path, query] = address.split('?', 2);
  const more = new URLSearchParams(query);
  return {
    path,
    username: more.get('username') ?? undefined,
    password: more.get('password') ?? undefined,
    db: Number(more.get('db') ?? 0),
  };
}

function readTlsFiles(files: RedisTlsFiles | undefined): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  const read = (variable: string, path: string | null | undefined) => {
    if (!path) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new Error(`${variable} names a file that can't be read: ${(error as Error).message}`);
    }
  };
  return {
    ca: read('FINDERY_REDIS_CA', files?.redisCa),
    cert: read('FINDERY_REDIS_CERT', files?.redisCert),
    key: read('FINDERY_REDIS_KEY', files?.redisKey),
  };
}

/** The URL with `***` for its passwords, both before the host and in the query. */
export function redactUrl(url: string): string {
  return url
    .replace(/^(rediss?-sentinel:\/\/)[^:/@]*@/i, '$1***@')
    .replace(/^([a-z-]+:\/\/[^:/@]*):.*@/i, '$1:***@')
    .replace(/([?&](?:sentinel)?password=)[^&]*/gi, '$1***');
}
