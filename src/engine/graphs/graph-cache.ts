/** What tells a bundle from others, and from itself with other files. */
interface Bundle {
  readonly name: string;
  readonly path: string | null;
  readonly signature: string;
}

/** What can be opened and costs memory as long as it is. */
interface Held {
  release(): Promise<void>;
}

/**
 * Opened models (or rewards) by path: the one longest unused is closed when there are more than `limit`, one whose files have changed is opened anew.
 * Only for callers that take turns: nothing of it may be running while `get` is called.
 */
export class GraphCache<T extends Held> {
  /** In the order of their last use. */
  readonly #opened = new Map<string, { readonly bundle: Bundle; readonly held: T }>();
  readonly #limit: number;

  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  /** What could not be opened is tried again next time: its file may have been mended. */
  async get(bundle: Bundle, open: () => Promise<T>): Promise<T> {
    const path = bundle.path ?? bundle.name;
    const known = this.#opened.get(path);
    this.#opened.delete(path);
    if (known?.bundle.signature === bundle.signature) {
      this.#opened.set(path, known);
      return known.held;
    }
    await known?.held.release();
    // Room first: both at once may be more than there is.
    for (const [other, { held }] of this.#opened) {
      if (this.#opened.size < this.#limit) break;
      this.#opened.delete(other);
      await held.release();
    }
    const held = await open();
    this.#opened.set(path, { bundle, held });
    return held;
  }

  /** Closes all but these; false when there are no others. */
  async releaseOthers(kept: readonly Bundle[]): Promise<boolean> {
    const paths = new Set(kept.map(({ path, name }) => path ?? name));
    const others = [...this.#opened].filter(([path]) => !paths.has(path));
    for (const [path, { held }] of others) {
      this.#opened.delete(path);
      await held.release();
    }
    return others.length > 0;
  }

  names(): string[] {
    return [...this.#opened.values()].map(({ bundle }) => bundle.name);
  }

  async release(): Promise<void> {
    for (const { held } of this.#opened.values()) await held.release().catch(() => {});
    this.#opened.clear();
  }
}
