import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { delimiter, isAbsolute, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blobFolder, ConfigError, readConfig } from '../../src/config/config.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { configurationPage } from '../../src/config/write-docs.ts';

const MODELS = resolve(import.meta.dirname, '..', '..', 'models');

describe('readConfig', () => {
  it('has a default for every setting: the API listens on the loopback address with a private Redis', () => {
    expect(readConfig({})).toEqual({
      host: '127.0.0.1',
      port: 8080,
      redisUrl: null,
      redisCa: null,
      redisCert: null,
      redisKey: null,
      requireDurable: false,
      redisPrefix: 'findery',
      dataFolder: resolve('.findery'),
      s3: null,
      keepDays: null,
      keepJobs: null,
      keepSamples: null,
      modelFolders: [resolve('.findery', 'models'), MODELS],
      executionProviders: ['cpu'],
      deviceId: 0,
      gpuLibraries: null,
      warm: 'first',
      threads: Math.min(256, availableParallelism()),
      batchSize: 8,
      sharedBatches: 'auto',
      modelsInMemory: 2,
      concurrency: 1,
      sliceSeconds: 60,
      lockSeconds: 15,
      logLevel: 'info',
      metricsPort: null,
      metricsHost: '127.0.0.1',
      traceEndpoint: null,
      traceHeaders: {},
      keys: 'auto',
      trustProxy: [],
      failedKeys: 30,
      corsOrigins: [],
      bodyLimit: 65_536,
      importLimit: 64 * 2 ** 20,
      requestSeconds: 120,
      webhookAllow: [],
      webhookRetrySeconds: 6,
    });
  });

  it('treats empty and blank variables as not set', () => {
    const blank = Object.fromEntries(Object.values(SETTINGS).map(({ variable }) => [variable, ' ']));
    expect(readConfig(blank)).toEqual(readConfig({}));
  });

  it('reads every variable', () => {
    const config = readConfig({
      HOST: '0.0.0.0',
      PORT: '0',
      REDIS_URL: 'rediss://user:secret@cache:6380/2',
      FINDERY_REDIS_CA: 'ca.pem',
      FINDERY_REDIS_CERT: 'cert.pem',
      FINDERY_REDIS_KEY: 'key.pem',
      FINDERY_REQUIRE_DURABLE: 'true',
      FINDERY_REDIS_PREFIX: 'team-a_1',
      FINDERY_DATA: 'some/where',
      FINDERY_STORAGE: 's3://things/team/a/',
      FINDERY_KEEP_DAYS: '30',
      FINDERY_KEEP_JOBS: '1000',
      FINDERY_KEEP_SAMPLES: '200',
      FINDERY_MODELS: ['one', '/two'].join(delimiter),
      FINDERY_PROVIDERS: 'cuda, cpu',
      FINDERY_DEVICE: '1',
      FINDERY_GPU_LIBRARIES: '/data/gpu',
      FINDERY_WARM: 'one, other',
      FINDERY_THREADS: '3',
      FINDERY_BATCH: '4',
      FINDERY_SHARED_BATCHES: 'on',
      FINDERY_MODELS_IN_MEMORY: '7',
      FINDERY_CONCURRENCY: '5',
      FINDERY_SLICE_SECONDS: '0',
      FINDERY_LOCK_SECONDS: '6',
      FINDERY_KEYS: 'required',
      FINDERY_TRUST_PROXY: 'loopback, 10.0.0.0/8,2001:db8::1',
      FINDERY_FAILED_KEYS: '0',
      FINDERY_CORS_ORIGINS: 'https://a.example, http://localhost:3000',
      FINDERY_BODY_LIMIT: '2048',
      FINDERY_IMPORT_LIMIT: '4096',
      FINDERY_REQUEST_SECONDS: '9',
      FINDERY_WEBHOOK_ALLOW: '127.0.0.1, 10.0.0.0/8,hooks.internal',
      FINDERY_WEBHOOK_RETRY_SECONDS: '2',
      LOG_LEVEL: 'debug',
      FINDERY_METRICS_PORT: '9464',
      FINDERY_METRICS_HOST: '0.0.0.0',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b',
    });
    expect(config).toEqual({
      host: '0.0.0.0',
      port: 0,
      redisUrl: 'rediss://user:secret@cache:6380/2',
      redisCa: resolve('ca.pem'),
      redisCert: resolve('cert.pem'),
      redisKey: resolve('key.pem'),
      requireDurable: true,
      redisPrefix: 'team-a_1',
      dataFolder: resolve('some/where'),
      s3: { bucket: 'things', prefix: 'team/a' },
      keepDays: 30,
      keepJobs: 1000,
      keepSamples: 200,
      modelFolders: [resolve('one'), resolve('/two'), resolve('some/where', 'models'), MODELS],
      executionProviders: ['cuda', 'cpu'],
      deviceId: 1,
      gpuLibraries: '/data/gpu',
      warm: ['one', 'other'],
      threads: 3,
      batchSize: 4,
      sharedBatches: 'on',
      modelsInMemory: 7,
      concurrency: 5,
      sliceSeconds: 0,
      lockSeconds: 6,
      logLevel: 'debug',
      metricsPort: 9464,
      metricsHost: '0.0.0.0',
      traceEndpoint: 'http://127.0.0.1:4318',
      traceHeaders: { 'x-key': 'a b' },
      keys: 'required',
      trustProxy: ['loopback', '10.0.0.0/8', '2001:db8::1'],
      failedKeys: 0,
      corsOrigins: ['https://a.example', 'http://localhost:3000'],
      bodyLimit: 2048,
      importLimit: 4096,
      requestSeconds: 9,
      webhookAllow: ['127.0.0.1', '10.0.0.0/8', 'hooks.internal'],
      webhookRetrySeconds: 2,
    });
    expect(isAbsolute(config.dataFolder)).toBe(true);
    expect(blobFolder(config)).toBe(resolve('some/where/blobs'));
  });

  it.each(['first', 'all', 'none'] as const)('accepts FINDERY_WARM=%s', (warm) => {
    expect(readConfig({ FINDERY_WARM: ` ${warm} ` }).warm).toBe(warm);
  });

  it.each([
    'redis://h',
    'rediss://h',
    'unix:///run/redis.sock',
    '/run/redis.sock',
    'redis-sentinel://user:secret@one:26379,two/main/1',
    'rediss-sentinel://one/main',
  ])('accepts REDIS_URL=%s', (url) => {
    expect(readConfig({ REDIS_URL: url }).redisUrl).toBe(url);
  });

  it.each([
    ['PORT', '65536', '0 to 65535'],
    ['PORT', '80.5', '0 to 65535'],
    ['PORT', '-1', '0 to 65535'],
    ['PORT', 'http', '0 to 65535'],
    ['REDIS_URL', 'http://cache', 'redis://, rediss://'],
    ['REDIS_URL', 'redis-sentinel://one:26379', 'host:port/NAME'],
    ['FINDERY_REQUIRE_DURABLE', 'yes', 'true or false'],
    ['FINDERY_REDIS_PREFIX', 'a b', 'letters, digits'],
    ['FINDERY_REDIS_PREFIX', 'a*', 'letters, digits'],
    ['FINDERY_TRUST_PROXY', 'true', 'addresses, CIDRs'],
    ['FINDERY_TRUST_PROXY', '1', 'loopback, linklocal, uniquelocal'],
    ['FINDERY_TRUST_PROXY', '0.0.0.0/0', 'not /0'],
    ['FINDERY_TRUST_PROXY', '10.0.0.0/33', 'CIDRs'],
    ['FINDERY_FAILED_KEYS', '-1', '0 to 1000000'],
    ['FINDERY_STORAGE', 's3://', '"file", or s3://bucket'],
    ['FINDERY_STORAGE', '/var/blobs', '"file", or s3://bucket'],
    ['FINDERY_KEEP_DAYS', '0', '1 to 36500'],
    ['FINDERY_KEEP_JOBS', 'all', '1 to 100000000'],
    ['FINDERY_KEEP_SAMPLES', '0.5', '1 to 100000000'],
    [
      'FINDERY_PROVIDERS',
      'cpu,tpu',
      '"tpu"; it takes one or more of cuda, tensorrt, webgpu, coreml, dml, cpu',
    ],
    ['FINDERY_PROVIDERS', 'CUDA', '"CUDA"; it takes one or more of cuda'],
    ['FINDERY_PROVIDERS', 'cuda,,cpu', '""; it takes one or more of cuda'],
    ['FINDERY_PROVIDERS', 'cuda,webgpu,cuda', 'each provider once'],
    ['FINDERY_PROVIDERS', 'cpu,cuda', 'cpu only as the last provider'],
    ['FINDERY_DEVICE', '-1', '0 to 255'],
    ['FINDERY_DEVICE', 'cuda:0', '0 to 255'],
    ['FINDERY_THREADS', '0', '1 to 256'],
    ['FINDERY_BATCH', '257', '1 to 256'],
    ['FINDERY_SHARED_BATCHES', 'maybe', 'auto, on or off'],
    ['FINDERY_CONCURRENCY', '65', '1 to 64'],
    ['FINDERY_SLICE_SECONDS', '86401', '0 to 86400'],
    ['FINDERY_LOCK_SECONDS', '1', '2 to 600'],
    ['FINDERY_BODY_LIMIT', '10', '1024 to 1073741824'],
    ['FINDERY_IMPORT_LIMIT', '1e99', '1024 to 2147483647'],
    ['LOG_LEVEL', 'loud', 'fatal, error, warn'],
  ])('rejects %s=%s and says what it accepts', (name, value, accepted) => {
    const read = () => readConfig({ [name]: value });
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(name);
    expect(read).toThrow(accepted);
    if (name !== 'REDIS_URL' && name !== 'FINDERY_PROVIDERS') expect(read).toThrow(`"${value}"`);
  });

  it('takes files for TLS only with TLS, and a certificate only with its key', () => {
    expect(() => readConfig({ REDIS_URL: 'redis://h', FINDERY_REDIS_CA: 'ca.pem' })).toThrow(
      /need TLS.*rediss:/,
    );
    expect(() => readConfig({ REDIS_URL: 'rediss://h', FINDERY_REDIS_CERT: 'c.pem' })).toThrow(
      /belong together/,
    );
  });

  it('does not repeat the values of unusable headers and addresses, which may be secrets', () => {
    const environment = { OTEL_EXPORTER_OTLP_HEADERS: 'secret', OTEL_EXPORTER_OTLP_ENDPOINT: 'secret:4318' };
    const read = () => readConfig(environment);
    expect(read).toThrow(/OTEL_EXPORTER_OTLP_ENDPOINT .* it takes an http:\/\/ or https:\/\/ address/);
    expect(read).toThrow(/OTEL_EXPORTER_OTLP_HEADERS .* it takes name=value, separated by commas/);
    expect(read).not.toThrow(/secret/);
  });

  it('names every unusable variable in one error, without a password', () => {
    const environment = {
      PORT: 'x',
      REDIS_URL: 'amqp://user:secret@cache',
      FINDERY_REDIS_PREFIX: '?',
      FINDERY_PROVIDERS: 'tpu',
      FINDERY_DEVICE: 'x',
      FINDERY_THREADS: 'x',
      FINDERY_BATCH: 'x',
      FINDERY_CONCURRENCY: 'x',
      FINDERY_SLICE_SECONDS: 'x',
      FINDERY_LOCK_SECONDS: 'x',
      FINDERY_BODY_LIMIT: 'x',
      FINDERY_IMPORT_LIMIT: 'x',
      FINDERY_WEBHOOK_ALLOW: '10.0.0.0/99',
      FINDERY_WEBHOOK_RETRY_SECONDS: 'x',
      LOG_LEVEL: 'x',
    };
    let message = '';
    try {
      readConfig(environment);
    } catch (error) {
      message = (error as Error).message;
    }
    const lines = message.split('\n').slice(1);
    for (const name of Object.keys(environment))
      expect(
        lines.filter((line) => line.startsWith(`  - ${name} `)),
        name,
      ).toHaveLength(1);
    expect(lines).toHaveLength(Object.keys(environment).length);
    expect(message).not.toContain('secret');
  });
});

describe('the settings', () => {
  const settings = Object.values(SETTINGS);

  it('are the variables that readConfig reads, and no others', () => {
    const read = new Set<string>();
    readConfig(
      new Proxy<NodeJS.ProcessEnv>(
        {},
        {
          get(_target, name) {
            read.add(String(name));
            return undefined;
          },
        },
      ),
    );
    expect([...read].sort()).toEqual(settings.map(({ variable }) => variable).sort());
  });

  it('accept their own defaults', () => {
    const environment = Object.fromEntries(settings.map(({ variable, default: text }) => [variable, text]));
    expect(readConfig(environment)).toEqual(readConfig({}));
  });

  it('are all in docs/configuration.md, which is up to date (npm run docs:config)', async () => {
    const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    expect(page).toBe(configurationPage());
    for (const { variable } of settings) expect(page).toContain(`| \`${variable}\` |`);
  });
});
