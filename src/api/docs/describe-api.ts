import { readConfig } from '../../config/config.ts';
import { buildApp } from '../app.ts';
import type { Services } from '../services.ts';

/** Builds the OpenAPI document without Redis, models or a port: only requests use the services. */
export async function describeApi(): Promise<object> {
  const services: Services = {
    config: readConfig({}),
    store: {} as Services['store'],
    blobs: {} as Services['blobs'],
    catalog: { now: async () => ({ models: [], rewards: [], problems: [] }) },
    resolveHost: async () => [],
    closing: new AbortController().signal,
  };
  const app = await buildApp(services);
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}
