import type { Redis } from './connection.ts';

type Listener = (id: string) => void;

/** Longest time between two reads of a record in `waitFor`: a message may have been lost. */
const MAX_READ_PAUSE_MS = 5000;

/**
 * Listens to one channel of Redis, whose messages are ids (of records that changed, of jobs to be
 * canceled). A message is lost when Redis reconnects, so listeners are called once for every id
 * after that.
 */
export class ChangeFeed {
  readonly #connection: Redis | null;
  readonly #listeners = new Map<string, Set<Listener>>();

  private constructor(connection: Redis | null) {
    this.#connection = connection;
  }

  /** Subscribes to `channel` on a new connection, a copy of `redis`. */
  static async subscribe(redis: Redis, channel: string): Promise<ChangeFeed> {
    const connection = redis.duplicate({ maxRetriesPerRequest: null, commandTimeout: undefined });
    connection.on('error', () => {}); // `redis` reports the same error
    const feed = new ChangeFeed(connection);
    connection.on('message', (_channel: string, id: string) => {
      for (const listener of feed.#listeners.get(id) ?? []) listener(id);
      for (const listener of feed.#listeners.get('*') ?? []) listener(id);
    });
    // Messages were lost while the connection was down.
    connection.on('ready', () => {
      for (const [id, listeners] of feed.#listeners) for (const listener of listeners) listener(id);
    });
    await connection.subscribe(channel);
    return feed;
  }

  /** A feed without messages. `waitFor` then reads every few seconds. */
  static silent(): ChangeFeed {
    return new ChangeFeed(null);
  }

  /**
   * Calls `listener` for every message with this id; `*`: for every message.
   * @returns a function that removes the listener
   */
  on(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  /**
   * Calls `read` now and after every change of the record, until it resolves with something else
   * than null.
   * @param milliseconds after which it gives up
   * @param signal ends the wait early
   * @returns what `read` found; null when time is up or the signal aborted
   */
  async waitFor<T>(
    id: string,
    milliseconds: number,
    read: () => Promise<T | null>,
    signal?: AbortSignal,
  ): Promise<T | null> {
    const deadline = Date.now() + milliseconds;
    let wake: () => void = () => {};
    let hasChanged = false;
    const off = this.on(id, () => {
      hasChanged = true;
      wake();
    });
    const stop = () => wake();
    signal?.addEventListener('abort', stop);
    try {
      for (;;) {
        hasChanged = false;
        const found = await read();
        const left = deadline - Date.now();
        if (found !== null || left <= 0 || signal?.aborted) return found;
        if (hasChanged) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(left, MAX_READ_PAUSE_MS));
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

  /** Ends the connection; listeners are not called any more. */
  async close(): Promise<void> {
    this.#connection?.disconnect();
  }
}
