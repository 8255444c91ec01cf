import { join } from 'node:path';
import sharp from 'sharp';
import { newId } from '../../src/contract/ids.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import type { Store } from '../../src/store/store.ts';
import { readOperations } from './attack.ts';

/** Ids of existing resources by the word in their paths. */
export interface Resources {
  readonly jobs: string;
  readonly policies: string;
  readonly samples: string;
  readonly images: string;
  readonly models: string;
  readonly 'webhook-endpoints': string;
  readonly 'webhook-deliveries': string;
}

/**
 * Creates one resource of each kind.
 * @param data data folder of the service; the image is written there, because a worker may not be
 *   running
 */
export async function createResources(
  url: string,
  key: string,
  store: Store,
  data: string,
): Promise<Resources> {
  const send = sender(url, key);
  const job = await send(
    '/v1/jobs',
    JSON.stringify({ prompt: 'a green dog', budget: { images: 2 }, priority: 'low' }),
  );
  const policy = await send('/v1/policies', policyFile(), 'application/octet-stream');
  const sample = await send(`/v1/policies/${policy.id}/samples`, '{}');
  await clearEndpoints(url, key);
  const endpoint = await send('/v1/webhook-endpoints', JSON.stringify({ url: 'http://127.0.0.1:9/' }));
  const delivery = await send(`/v1/webhook-endpoints/${endpoint.id}/test`, '{}');

  const image = newId('img');
  const blob = `images/${image}.png`;
  const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#080' } })
    .png()
    .toBuffer();
  await new FileBlobs(join(data, 'blobs')).put(blob, picture);
  const createdAt = new Date().toISOString();
  const record = {
    id: image,
    tenant: 'acme',
    key: blob,
    width: 64,
    height: 64,
    format: 'png' as const,
    createdAt,
  };
  await store.images.create(record, { parent: sample.id });
  return {
    jobs: job.id,
    policies: policy.id,
    samples: sample.id,
    images: image,
    models: 'stickers',
    'webhook-endpoints': endpoint.id,
    'webhook-deliveries': delivery.id,
  };
}

/** Deletes all webhook endpoints: their number is limited, and fuzzing reaches the limit. */
async function clearEndpoints(url: string, key: string): Promise<void> {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/v1/webhook-endpoints?limit=100`, { headers });
  const { data } = (await response.json()) as { data: { id: string }[] };
  for (const { id } of data) await fetch(`${url}/v1/webhook-endpoints/${id}`, { method: 'DELETE', headers });
}

/** Ids of existing resources to choose from, by the word in their paths. */
export interface ResourcePools {
  readonly [kind: string]: readonly string[];
}

/**
 * Creates more resources of the kinds that can be deleted, so that some last for a whole run. Ids
 * of kinds that `Resources` does not name come from their lists, so a new route has some too.
 * @param spared ids that are in no pool
 */
export async function createResourcePools(
  url: string,
  key: string,
  resources: Resources,
  count: number,
  spared: readonly string[],
): Promise<ResourcePools> {
  const send = sender(url, key);
  const policies = [];
  const endpoints = [];
  const jobs = [];
  for (let i = 0; i < count; i++) {
    policies.push((await send('/v1/policies', policyFile(), 'application/octet-stream')).id);
    // Half of the limit, so that Schemathesis can create more.
    if (i < count / 2)
      endpoints.push(
        (await send('/v1/webhook-endpoints', JSON.stringify({ url: 'http://127.0.0.1:9/' }))).id,
      );
    jobs.push(
      (await send('/v1/jobs', JSON.stringify({ prompt: 'a green dog', seed: i, priority: 'low' }))).id,
    );
  }
  const pools = {
    jobs: [resources.jobs, ...jobs],
    policies,
    samples: [resources.samples],
    images: [resources.images],
    models: [resources.models],
    'webhook-endpoints': endpoints,
    'webhook-deliveries': [resources['webhook-deliveries']],
  };
  return { ...(await listOthers(url, key, Object.keys(pools), spared)), ...pools };
}

/** Ids in the lists of all other kinds that have a route for one of them. */
async function listOthers(
  url: string,
  key: string,
  known: readonly string[],
  spared: readonly string[],
): Promise<ResourcePools> {
  const others: { [kind: string]: string[] } = {};
  for (const { method, path } of await readOperations()) {
    const kind = /^\/v1\/([^/]+)\/\{id\}$/.exec(path)?.[1];
    if (method !== 'GET' || kind === undefined || known.includes(kind)) continue;
    const headers = { authorization: `Bearer ${key}` };
    const response = await fetch(`${url}/v1/${kind}?limit=100`, { headers });
    if (!response.ok) continue; // this kind has no list, or the key may not see it
    const { data } = (await response.json()) as { data: { id: string }[] };
    const ids = data.map(({ id }) => id).filter((id) => !spared.includes(id));
    if (ids.length > 0) others[kind] = ids;
  }
  return others;
}

function sender(url: string, key: string) {
  return async (path: string, body: string | Uint8Array<ArrayBuffer>, type = 'application/json') => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': type };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { id: string };
  };
}

function policyFile(): Uint8Array<ArrayBuffer> {
  const distribution = {
    shape: [4, 16, 16],
    mean: new Float32Array(1024),
    std: Float32Array.of(1),
    weights: Float32Array.of(1),
  };
  return new Uint8Array(encodePolicy(distribution, { prompt: 'a green dog' }));
}
