import type { Redis } from './connection.ts';

type Listener = (id: string) => void;

/**
 * Hears what one channel of Redis says (ids of records that changed, of jobs to be canceled) on a connection of its own,
 * and tells the listeners of that id. A message can be missed while Redis reconnects: who waits looks at the record too.
 */
export class ChangeFeed {
  readonly #connection: Redis;
  readonly #listeners = new Map<string, Set<Listener>>();

  private constructor(connection: Redis) {
    this.#connection = connection;
  }

  static async subscribe(redis: Redis, channel: string): Promise<ChangeFeed> {
    const connection = redis.duplicate({ maxRetriesPerRequest: null, commandTimeout: undefined });
    connection.on('error', () => {}); // the connection it was copied from reports the same
    const changes = new ChangeFeed(connection);
    connection.on('message', (_channel: string, id: string) => {
      for (const listener of changes.#listeners.get(id) ?? []) listener(id);
      for (const listener of changes.#listeners.get('*') ?? []) listener(id);
    });
    // Whatever happened while the connection was down is looked up again.
    connection.on('ready', () => {
      for (const [id, listeners] of changes.#listeners) for (const listener of listeners) listener(id);
    });
    await connection.subscribe(channel);
    return changes;
  }

  /** Calls `listener` whenever the record changes (`*`: any). Returns what ends it. */
  on(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  /**
   * Looks (`look`) now and after every change of the record until it gives something else than null, for at most
   * `milliseconds`; then null.
   */
  async until<T>(
    id: string,
    milliseconds: number,
    look: () => Promise<T | null>,
    signal?: AbortSignal,
  ): Promise<T | null> {
    const deadline = Date.now() + milliseconds;
    let wake: () => void = () => {};
    let changed = false;
    const off = this.on(id, () => {
      changed = true;
      wake();
    });
    const stop = () => wake();
    signal?.addEventListener('abort', stop);
    try {
      for (;;) {
        changed = false;
        const found = await look();
        const left = deadline - Date.now();
        if (found !== null || left <= 0 || signal?.aborted) return found;
        if (changed) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(left, 5000));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
          if (signal?.aborted) wake();
        });
      }
    } finally {
      off();
      signal?.removeEventListener('abort', stop);
    }
  }

  async close(): Promise<void> {
    this.#connection.disconnect();
  }
}
