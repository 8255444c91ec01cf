import type { LiveCatalog } from '../bundles/catalog.ts';
import type { Config } from '../config/config.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { SharedStore } from '../store/store.ts';
import type { Resolve } from '../webhooks/resolve-target.ts';

/** What the routes work with. */
export interface Services {
  readonly config: Config;
  /** Without records: those of the caller's tenant are in `request.store`. */
  readonly store: SharedStore;
  readonly blobs: BlobStore;
  /** How hosts of webhooks' targets are found. */
  readonly resolveHost: Resolve;
  readonly catalog: Pick<LiveCatalog, 'now'>;
  /** Aborted when the server closes: ends what holds a connection open. */
  readonly closing: AbortSignal;
  /** Between two heartbeats of an event stream. */
  readonly heartbeatMilliseconds?: number;
}

declare module 'fastify' {
  interface FastifyInstance {
    services: Services;
  }
}
