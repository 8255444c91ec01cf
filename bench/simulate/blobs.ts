import type { BlobStore } from '../../src/storage/blobs.ts';

/** Prefix of the listing with which a worker deletes the checkpoints of a job that has ended. */
const CHECKPOINTS = 'checkpoints/';

/**
 * A store that takes every blob and keeps none: the simulation measures Redis, and no job of it
 * starts again.
 * @param onJobEnded called with the id of a job after its last change in Redis
 */
export function forgetfulBlobs(onJobEnded: (id: string) => void): BlobStore {
  return {
    put: async () => {},
    get: async () => null,
    delete: async () => {},
    list(prefix) {
      if (prefix.startsWith(CHECKPOINTS)) onJobEnded(prefix.slice(CHECKPOINTS.length, -1));
      return nothing();
    },
    entries: nothing,
    check: async () => {},
    removeLeftovers: async () => {},
  };
}

async function* nothing(): AsyncGenerator<never> {
  yield* [];
}
