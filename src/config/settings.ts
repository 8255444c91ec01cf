import { availableParallelism } from 'node:os';
import { LOGGING, METRICS } from './observability-settings.ts';
import {
  executionProviders,
  folder,
  folders,
  integer,
  oneOf,
  optional,
  origins,
  type Parser,
  proxies,
  storage,
  text,
  warmModels,
  webhookTargets,
} from './parsers.ts';
import { REDIS } from './redis-settings.ts';

/**
 * A setting of a findery process. It is defined once, in this file: `Config`, the validation and
 * docs/configuration.md follow from the definition.
 */
export interface Setting<Value> {
  /** Name of the environment variable. */
  readonly variable: string;
  /**
   * Text that is parsed when the variable is not set or blank; '' when the setting has no default.
   */
  readonly default: string;
  /** The default in words, where it differs from machine to machine. */
  readonly defaultInWords?: string;
  readonly value: Parser<Value>;
  /** Markdown for docs/configuration.md. */
  readonly description: string;
}

export type Settings = { readonly [name: string]: Setting<unknown> };

/**
 * The largest retention limits: of the service (`FINDERY_KEEP_*`) and of a tenant (`findery keep`).
 */
export const MAX_RETENTION = { days: 36_500, jobs: 100_000_000, samples: 100_000_000 } as const;

const SERVER = {
  host: {
    variable: 'HOST',
    default: '127.0.0.1',
    value: text('a host name or an IP address'),
    description: 'Address that the API listens on.',
  },
  port: {
    variable: 'PORT',
    default: '8080',
    value: integer(0, 65_535),
    description: 'Port of the API. 0 picks a free port.',
  },
  bodyLimit: {
    variable: 'FINDERY_BODY_LIMIT',
    default: '65536',
    value: integer(1024, 2 ** 30),
    description: 'Largest JSON body of a request, in bytes.',
  },
  importLimit: {
    variable: 'FINDERY_IMPORT_LIMIT',
    default: '67108864',
    value: integer(1024, 2 ** 31 - 1),
    description: 'Largest policy file that may be imported, in bytes.',
  },
  requestSeconds: {
    variable: 'FINDERY_REQUEST_SECONDS',
    default: '120',
    value: integer(1, 3600),
    description: 'Seconds in which a whole request, with its body, has to arrive.',
  },
  corsOrigins: {
    variable: 'FINDERY_CORS_ORIGINS',
    default: '',
    value: origins,
    description: 'Origins whose web pages may call the API. `*` allows every origin.',
  },
  trustProxy: {
    variable: 'FINDERY_TRUST_PROXY',
    default: '',
    value: proxies,
    description:
      'Proxies whose `X-Forwarded-For` header is trusted. `uniquelocal` stands for 10.0.0.0/8 and the ' +
      'other private networks. A trusted proxy forwards requests of other machines, so the API asks for ' +
      'keys as it does at a public `HOST`.',
  },
} satisfies Settings;

const STORAGE = {
  dataFolder: {
    variable: 'FINDERY_DATA',
    default: '.findery',
    value: folder,
    description: 'Folder of policies, images, checkpoints and the private Redis.',
  },
  s3: {
    variable: 'FINDERY_STORAGE',
    default: 'file',
    value: storage,
    description:
      'Where policies, images, checkpoints and finished records are stored: `file` (in `FINDERY_DATA`) ' +
      'or an S3 bucket. Endpoint, region and credentials are those of the AWS SDK ' +
      '(`AWS_ENDPOINT_URL_S3`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ...).',
  },
  keepDays: {
    variable: 'FINDERY_KEEP_DAYS',
    default: '',
    value: optional(integer(1, MAX_RETENTION.days)),
    description:
      'Days after which finished jobs and samples are deleted, and policies that were not sampled from ' +
      'since. Without it they are kept.',
  },
  keepJobs: {
    variable: 'FINDERY_KEEP_JOBS',
    default: '',
    value: optional(integer(1, MAX_RETENTION.jobs)),
    description:
      'Number of finished jobs that each tenant keeps, with their policies and samples. The oldest are ' +
      'deleted first. Without it all are kept.',
  },
  keepSamples: {
    variable: 'FINDERY_KEEP_SAMPLES',
    default: '',
    value: optional(integer(1, MAX_RETENTION.samples)),
    description:
      'Number of finished sample batches that each tenant keeps, with their images. The oldest are deleted ' +
      'first. Without it all are kept.',
  },
} satisfies Settings;

const MODELS = {
  modelFolders: {
    variable: 'FINDERY_MODELS',
    default: '',
    value: folders,
    description:
      'Additional folders of models and rewards. They are searched first, then `models` in `FINDERY_DATA`, ' +
      'then the embedded models.',
  },
  executionProviders: {
    variable: 'FINDERY_PROVIDERS',
    default: 'cpu',
    value: executionProviders,
    description:
      'ONNX Runtime execution providers. The first one is used. A later one is used only when those before ' +
      'it are not available.',
  },
  deviceId: {
    variable: 'FINDERY_DEVICE',
    default: '0',
    value: integer(0, 255),
    description: 'Number of the GPU for cuda, tensorrt and dml.',
  },
  gpuLibraries: {
    variable: 'FINDERY_GPU_LIBRARIES',
    default: '',
    value: optional(folder),
    description:
      'Folder of the CUDA libraries that `findery gpu setup` fetches. Without it: `gpu` in `FINDERY_DATA`.',
  },
  threads: {
    variable: 'FINDERY_THREADS',
    default: String(Math.min(256, availableParallelism())),
    defaultInWords: 'number of cores',
    value: integer(1, 256),
    description: 'Threads of one graph run.',
  },
  batchSize: {
    variable: 'FINDERY_BATCH',
    default: '8',
    value: integer(1, 256),
    description: 'Largest number of noises in one graph run.',
  },
  sharedBatches: {
    variable: 'FINDERY_SHARED_BATCHES',
    default: 'auto',
    value: oneOf('auto', 'on', 'off'),
    description:
      'Whether jobs and samples of one model share runs of its denoiser. Shared runs always have ' +
      '`FINDERY_BATCH` places, so results do not depend on what else the worker does. `auto`: on GPUs.',
  },
  modelsInMemory: {
    variable: 'FINDERY_MODELS_IN_MEMORY',
    default: '2',
    value: integer(1, 64),
    description:
      'Number of models, and of rewards, that a worker keeps open. The least recently used one is closed.',
  },
} satisfies Settings;

const WORKERS = {
  concurrency: {
    variable: 'FINDERY_CONCURRENCY',
    default: '1',
    value: integer(1, 64),
    description: 'Number of optimization jobs that one worker runs at the same time.',
  },
  warm: {
    variable: 'FINDERY_WARM',
    default: 'first',
    value: warmModels,
    description:
      'Models that a worker opens and runs once while it has no work. `first` stands for the first ' +
      'installed model.',
  },
  sliceSeconds: {
    variable: 'FINDERY_SLICE_SECONDS',
    default: '60',
    value: integer(0, 86_400),
    description:
      'Seconds of search after which a job makes room for other jobs that wait: it goes back to the queue ' +
      'and continues later from its checkpoint. 0: never.',
  },
  lockSeconds: {
    variable: 'FINDERY_LOCK_SECONDS',
    default: '15',
    value: integer(2, 600),
    description:
      'Seconds after which another process takes over the job of a dead worker or the webhook delivery of ' +
      'a dead API.',
  },
} satisfies Settings;

const KEYS = {
  keys: {
    variable: 'FINDERY_KEYS',
    default: 'auto',
    value: oneOf('auto', 'required', 'off'),
    description:
      'When the API asks for keys. `auto`: as soon as a key exists, and always at a `HOST` that other ' +
      'machines reach. `required`: always; needed behind a proxy on the same machine. `off`: never; ' +
      'every client may do everything.',
  },
  failedKeys: {
    variable: 'FINDERY_FAILED_KEYS',
    default: '30',
    value: integer(0, 1e6),
    description:
      'Requests with an invalid key that one address may send in a minute. Further ones are answered 429. ' +
      '0: no limit.',
  },
} satisfies Settings;

const WEBHOOKS = {
  webhookAllow: {
    variable: 'FINDERY_WEBHOOK_ALLOW',
    default: '',
    value: webhookTargets,
    description: 'Webhook targets that are allowed besides https:// in the public internet.',
  },
  webhookRetrySeconds: {
    variable: 'FINDERY_WEBHOOK_RETRY_SECONDS',
    default: '6',
    value: integer(1, 3600),
    description:
      'Seconds before the second attempt of a webhook delivery. Each further pause is three times as long, ' +
      'up to six hours. There are 12 attempts in all.',
  },
} satisfies Settings;

/** Every setting by its name in `Config`. */
export const SETTINGS = {
  ...SERVER,
  ...REDIS,
  ...STORAGE,
  ...MODELS,
  ...WORKERS,
  ...KEYS,
  ...WEBHOOKS,
  ...LOGGING,
  ...METRICS,
} satisfies Settings;

/** The settings under the headings of docs/configuration.md. */
export const SETTING_GROUPS: readonly { readonly heading: string; readonly settings: Settings }[] = [
  { heading: 'Server', settings: SERVER },
  { heading: 'Redis', settings: REDIS },
  { heading: 'Storage and retention', settings: STORAGE },
  { heading: 'Models and inference', settings: MODELS },
  { heading: 'Workers', settings: WORKERS },
  { heading: 'Keys and tenants', settings: KEYS },
  { heading: 'Webhooks', settings: WEBHOOKS },
  { heading: 'Logs and traces', settings: LOGGING },
  { heading: 'Metrics', settings: METRICS },
];
