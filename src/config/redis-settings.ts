import { file, optional, redisAddress, text, yesOrNo } from './parsers.ts';
import type { Settings } from './settings.ts';

/** The settings of the connection to Redis. */
export const REDIS = {
  redisUrl: {
    variable: 'REDIS_URL',
    default: '',
    value: optional(redisAddress),
    description:
      'Redis or Valkey to use. Without it, `npm start` and `npm run demo` start a private Redis; ' +
      '`npm run api` and `npm run worker` do not start. `rediss://` is TLS. ' +
      '`redis-sentinel://[user:password@]host:port,host:port/NAME[/db]` asks Sentinels for the primary ' +
      'NAME and follows a failover ([operations](operations.md#redis)).',
  },
  redisCa: {
    variable: 'FINDERY_REDIS_CA',
    default: '',
    value: optional(file),
    description: 'PEM file of the certificate authorities that Redis is checked against, for `rediss://`.',
  },
  redisCert: {
    variable: 'FINDERY_REDIS_CERT',
    default: '',
    value: optional(file),
    description: 'PEM file of the certificate that Redis asks clients for, for `rediss://`.',
  },
  redisKey: {
    variable: 'FINDERY_REDIS_KEY',
    default: '',
    value: optional(file),
    description: 'PEM file of the private key of `FINDERY_REDIS_CERT`.',
  },
  requireDurable: {
    variable: 'FINDERY_REQUIRE_DURABLE',
    default: 'false',
    value: yesOrNo,
    description:
      'Whether the API refuses to start, and is not ready, on a Redis whose settings can lose accepted ' +
      'work. `false`: it warns ([operations](operations.md#redis)).',
  },
  redisPrefix: {
    variable: 'FINDERY_REDIS_PREFIX',
    default: 'findery',
    value: text('letters, digits, "-" and "_"', /^[A-Za-z0-9_-]+$/),
    description: 'Prefix of every key in Redis. Services with different prefixes can share one Redis.',
  },
} satisfies Settings;
