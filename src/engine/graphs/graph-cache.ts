/** Identifies a bundle and the state of its files. */
interface BundleKey {
  readonly name: string;
  readonly path: string | null;
  readonly signature: string;
}

/** An opened model or reward, which takes memory until it is released. */
interface Releasable {
  release(): Promise<void>;
}

/**
 * Opened models (or rewards) by path. If there are more than `limit`, the least recently used one
 * is closed. One whose files have changed is closed and opened again.
 *
 * The cache may close any entry in `get`, so nothing of it may be running at that time.
 */
export class GraphCache<T extends Releasable> {
  /** Entries in the order of their last use. */
  readonly #entries = new Map<string, { readonly bundle: BundleKey; readonly opened: T }>();
  readonly #limit: number;

  /** @param limit maximum number of entries; by default unlimited */
  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  /**
   * Returns the entry of a bundle, opened by `open` if necessary. A failure of `open` is not
   * cached: the next call tries again.
   */
  async get(bundle: BundleKey, open: () => Promise<T>): Promise<T> {
    const path = bundle.path ?? bundle.name;
    const entry = this.#entries.get(path);
    this.#entries.delete(path);
    if (entry?.bundle.signature === bundle.signature) {
      this.#entries.set(path, entry);
      return entry.opened;
    }
    await entry?.opened.release();
    // Others are closed before the new one is opened: both may not fit into memory.
    for (const [other, { opened }] of this.#entries) {
      if (this.#entries.size < this.#limit) break;
      this.#entries.delete(other);
      await opened.release();
    }
    const opened = await open();
    this.#entries.set(path, { bundle, opened });
    return opened;
  }

  /**
   * Closes all entries but those of `keep`.
   * @returns whether any were closed
   */
  async releaseOthers(keep: readonly BundleKey[]): Promise<boolean> {
    const paths = new Set(keep.map(({ path, name }) => path ?? name));
    const others = [...this.#entries].filter(([path]) => !paths.has(path));
    for (const [path, { opened }] of others) {
      this.#entries.delete(path);
      await opened.release();
    }
    return others.length > 0;
  }

  /** Names of the opened bundles. */
  names(): string[] {
    return [...this.#entries.values()].map(({ bundle }) => bundle.name);
  }

  /** Closes all entries; failures are ignored. */
  async release(): Promise<void> {
    for (const { opened } of this.#entries.values()) await opened.release().catch(() => {});
    this.#entries.clear();
  }
}
