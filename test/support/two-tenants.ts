import { expect } from 'vitest';
import { newId } from '../../src/contract/ids.ts';
import type { WorkerInfo } from '../../src/contract/schemas/catalog.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { announceWorker } from '../../src/store/worker-registry.ts';
import { createKey, withHeaders } from './api-keys.ts';
import { PROMPT, queueJob, readOk, startTestApi, succeedJob, type TestApi } from './test-api.ts';

/** An operation of the OpenAPI document. Tests that walk all operations so include each new one. */
export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly name: string;
  /** One of them is required; none: it is open. */
  readonly scopes: readonly string[];
}

/** Bodies of the operations that need one. */
export const BODIES = {
  createJob: { prompt: PROMPT },
  putJob: { prompt: PROMPT },
  createSample: { prompt: PROMPT },
  createKey: { name: 'a test' },
  createWebhookEndpoint: { url: 'http://127.0.0.1:9/' },
  updateWebhookEndpoint: { enabled: false },
} satisfies { readonly [name: string]: unknown };

const WORKER = {
  object: 'worker',
  id: 'w',
  host: 'h',
  pid: 1,
  version: '0',
  startedAt: '2026-01-01T00:00:00Z',
  seenAt: '2026-01-01T00:00:00Z',
  device: 'cpu',
  executionProviders: ['cpu'],
  passedOver: [],
  threads: 1,
  batchSize: 1,
  reducedBatches: [],
  memoryBytes: 1,
  loaded: [],
  currentJobs: [],
  imagesPerSecond: null,
} satisfies WorkerInfo;

/**
 * An API with two tenants: `acme`, which has a record of every kind, and `rival`, which has none.
 */
export interface TwoTenants {
  readonly api: TestApi;
  readonly acme: TestApi;
  readonly rival: TestApi;
  readonly operations: readonly Operation[];
  /** Ids of acme's records, by the path that takes them: `/v1/jobs/{id}` -> an id. */
  readonly owned: { readonly [path: string]: string };
  /** Ids of all records of acme, also of the deleted one. */
  readonly ids: readonly string[];
  /** Id of a deleted policy of acme. */
  readonly deleted: string;
  close(): Promise<void>;
}

/** Starts the API and creates the records of `acme`. */
export async function startTwoTenants(): Promise<TwoTenants> {
  const api = await startTestApi({ webhookAllow: ['127.0.0.1'] });
  const scopes = ['tenant-admin'] as const;
  const acmeKey = await createKey(api, { tenant: 'acme', scopes });
  const acme = withHeaders(api, acmeKey.headers);
  const rival = withHeaders(api, (await createKey(api, { tenant: 'rival', scopes })).headers);
  const document = (await (await api.get('/openapi.json')).json()) as {
    paths: Record<string, Record<string, { operationId: string; security: { key: string[] }[] }>>;
  };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, security }]) => ({
      method: method.toUpperCase(),
      path,
      name: operationId,
      scopes: security.flatMap(({ key }) => key),
    })),
  );

  const file = encodePolicy(
    {
      shape: [4, 16, 16],
      mean: new Float32Array(1024),
      std: Float32Array.of(1),
      weights: Float32Array.of(1),
    },
    { prompt: PROMPT },
  );
  const upload = async () => {
    const response = await acme.post('/v1/policies', file, { 'content-type': 'application/octet-stream' });
    return String((await readOk(response, 201)).id);
  };
  const endpoint = await readOk(await acme.post('/v1/webhook-endpoints', BODIES.createWebhookEndpoint), 201);
  const delivery = await readOk(await acme.post(`/v1/webhook-endpoints/${endpoint.id}/test`), 202);
  const { id: job } = await queueJob(
    acme,
    { metadata: { secret: 'plans' } },
    { 'idempotency-key': 'order 1' },
  );
  const { id: ended } = await queueJob(acme);
  await succeedJob(api, ended);
  const policy = await upload();
  const sample = String((await readOk(await acme.post(`/v1/policies/${policy}/samples`), 202)).id);
  const image = newId('img');
  const key = `images/${image}.png`;
  await api.blobs.put(key, Buffer.from('picture'));
  const now = new Date().toISOString();
  const picture = {
    id: image,
    tenant: 'acme',
    key,
    width: 8,
    height: 8,
    format: 'png' as const,
    createdAt: now,
  };
  await api.store.images.create(picture, { parent: sample });
  const deleted = await upload();
  expect((await acme.send('DELETE', `/v1/policies/${deleted}`)).status).toBe(204);
  const announce = () =>
    announceWorker(api.store.redis, api.store.keys, { ...WORKER, currentJobs: [job, sample] });
  await announce();
  // Announced repeatedly, as a worker does: the entry expires after ten seconds.
  const heartbeat = setInterval(() => void announce(), 2000);

  const owned = {
    '/v1/jobs/{id}': job,
    '/v1/jobs/{id}/events': ended,
    '/v1/policies/{id}': policy,
    '/v1/samples/{id}': sample,
    '/v1/images/{id}': image,
    '/v1/keys/{id}': acmeKey.key.id,
    '/v1/models/{name}': '',
    '/v1/webhook-endpoints/{id}': String(endpoint.id),
    '/v1/webhook-deliveries/{id}': String(delivery.id),
  };
  const ids = [...Object.values(owned).filter(Boolean), deleted];
  return {
    api,
    acme,
    rival,
    operations,
    owned,
    ids,
    deleted,
    async close() {
      clearInterval(heartbeat);
      await api.close();
    },
  };
}

/** Sends an operation, with its body if it needs one. */
export const call = (who: TestApi, { method, name }: Operation, path: string): Promise<Response> => {
  const body: unknown = (BODIES as { readonly [name: string]: unknown })[name];
  return body === undefined
    ? who.send(method, path)
    : who.send(method, path, { 'content-type': 'application/json' }, JSON.stringify(body));
};
