/** Environment variables, as the README documents them. */
export const VARIABLES: readonly {
  readonly name: string;
  readonly default: string;
  readonly description: string;
}[] = [
  { name: 'HOST', default: '127.0.0.1', description: 'address that the API listens on' },
  { name: 'PORT', default: '8080', description: 'port of the API; 0 picks a free one' },
  {
    name: 'REDIS_URL',
    default: 'none',
    description:
      'redis://, rediss:// or unix socket path of the Redis (or Valkey) to use; without it `npm start` and `npm run demo` start a private one',
  },
  {
    name: 'FINDERY_REDIS_PREFIX',
    default: 'findery',
    description: 'prefix of all keys in Redis: letters, digits, `-`, `_`',
  },
  {
    name: 'FINDERY_DATA',
    default: '.findery',
    description: 'folder of policies, images, checkpoints and the private Redis',
  },
  {
    name: 'FINDERY_STORAGE',
    default: 'file',
    description:
      'where policies, images, checkpoints and records of what has ended lie: `file` (in FINDERY_DATA) or `s3://bucket/prefix`, with endpoint, region and credentials as the AWS SDK reads them (AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID, ...)',
  },
  {
    name: 'FINDERY_KEEP_DAYS',
    default: 'none',
    description:
      'days after which jobs and samples that have ended, and policies that nothing was drawn from since, are deleted, 1 to 36500; without it they stay',
  },
  {
    name: 'FINDERY_KEEP_JOBS',
    default: 'none',
    description:
      'most jobs that have ended to keep, with their policies and samples, 1 to 100000000; the oldest go',
  },
  {
    name: 'FINDERY_KEEP_SAMPLES',
    default: 'none',
    description:
      'most sample batches that have ended to keep, with their images, 1 to 100000000; the oldest go',
  },
  {
    name: 'FINDERY_MODELS',
    default: 'none',
    description:
      'more folders of models and rewards, separated as in PATH; they are looked at before `models` in FINDERY_DATA and the embedded ones',
  },
  {
    name: 'FINDERY_PROVIDERS',
    default: 'cpu',
    description:
      'ONNX Runtime execution providers, separated by commas: cuda, tensorrt, webgpu, coreml, dml, cpu. The first is used; a later one only where it is named and those before it are not to be had',
  },
  {
    name: 'FINDERY_DEVICE',
    default: '0',
    description: 'number of the GPU for cuda, tensorrt and dml, 0 to 255',
  },
  { name: 'FINDERY_THREADS', default: 'number of cores', description: 'threads of one graph run, 1 to 256' },
  { name: 'FINDERY_BATCH', default: '8', description: 'most draws in one graph run, 1 to 256' },
  {
    name: 'FINDERY_MODELS_IN_MEMORY',
    default: '2',
    description:
      'most models that stay open in a worker, and as many rewards, 1 to 64; the one longest unused goes',
  },
  {
    name: 'FINDERY_WARM',
    default: 'first',
    description:
      'models that a worker opens and tries before it takes jobs: names separated by commas, `first` (installed), `all` or `none`',
  },
  {
    name: 'FINDERY_CONCURRENCY',
    default: '1',
    description: 'optimisation jobs at a time in one worker, 1 to 64',
  },
  {
    name: 'FINDERY_LOCK_SECONDS',
    default: '15',
    description:
      'seconds after which the job of a dead worker, and the delivery of a dead API, goes to another, 2 to 600',
  },
  {
    name: 'FINDERY_KEYS',
    default: 'auto',
    description:
      'when the API asks for keys: `auto`, as soon as there are any, and always at a `HOST` that others reach; `required`, always (behind a proxy on this machine); `off`, never: whoever reaches it may do everything',
  },
  {
    name: 'FINDERY_TRUST_PROXY',
    default: 'none',
    description:
      'proxies whose `X-Forwarded-For` is believed, as addresses, CIDRs, `loopback`, `linklocal` or `uniquelocal` (10.0.0.0/8 and other private networks), separated by commas; others come through them, so a key is asked for as at an open `HOST`',
  },
  {
    name: 'FINDERY_FAILED_KEYS',
    default: '30',
    description:
      'requests with a key that does not count that one address may send in a minute before it is answered 429, 0 to 1000000; 0: no limit',
  },
  {
    name: 'FINDERY_CORS_ORIGINS',
    default: 'none',
    description:
      'origins whose pages may use the API, separated by commas, as https://app.example.com; `*`: any',
  },
  { name: 'FINDERY_BODY_LIMIT', default: '65536', description: 'largest JSON body, bytes' },
  {
    name: 'FINDERY_IMPORT_LIMIT',
    default: '67108864',
    description: 'largest policy file that may be imported, bytes',
  },
  {
    name: 'FINDERY_REQUEST_SECONDS',
    default: '120',
    description: 'seconds in which a whole request, with its body, has to arrive, 1 to 3600',
  },
  {
    name: 'FINDERY_WEBHOOK_ALLOW',
    default: 'none',
    description:
      'targets of webhooks beyond https:// in the public internet: addresses, CIDRs and names of hosts, separated by commas',
  },
  {
    name: 'FINDERY_WEBHOOK_RETRY_SECONDS',
    default: '6',
    description:
      "pause before the second attempt of a webhook's delivery, 1 to 3600; the next are three times as long each, six hours at most, 12 attempts in all",
  },
  { name: 'LOG_LEVEL', default: 'info', description: 'fatal, error, warn, info, debug, trace or silent' },
];
