import type { LiveCatalog } from '../bundles/catalog.ts';
import type { Config } from '../config/config.ts';
import type { BlobStore } from '../storage/blobs.ts';
import type { SharedStore } from '../store/store.ts';
import type { Tracer } from '../tracing/tracer.ts';
import type { Resolve } from '../webhooks/resolve-target.ts';

/** What routes and plugins work with, as `app.services`. */
export interface Services {
  readonly config: Config;
  /** The store without records; `request.store` has those of the caller's tenant. */
  readonly store: SharedStore;
  readonly blobs: BlobStore;
  /** Resolves the hosts of webhook targets. */
  readonly resolveHost: Resolve;
  readonly catalog: Pick<LiveCatalog, 'now'>;
  /** Aborted when the server closes; ends event streams and held requests. */
  readonly closing: AbortSignal;
  /** Records a trace of each request; left out or null: traces are off. */
  readonly tracer?: Tracer | null;
  /** Interval between two heartbeats of an event stream; default 15 seconds. */
  readonly heartbeatMilliseconds?: number;
}

declare module 'fastify' {
  interface FastifyInstance {
    services: Services;
  }
}
