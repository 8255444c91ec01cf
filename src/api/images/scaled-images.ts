/** Pictures larger than a part of the cache are not cached: they would drive out all others. */
const MAX_SHARE = 1 / 8;

/**
 * A cache of scaled images, because scaling takes a tenth of a second. The least recently used ones
 * are dropped when they exceed a number of bytes. Requests for the same image wait for one result.
 */
export class ScaledImages {
  readonly #maxBytes: number;
  /** Sorted by their last use. */
  readonly #images = new Map<string, Buffer>();
  readonly #pending = new Map<string, Promise<Buffer>>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The image of a key.
   * @param key names the stored bytes and the width
   * @param scale makes the image; what it throws is not cached
   */
  async get(key: string, scale: () => Promise<Buffer>): Promise<Buffer> {
    const cached = this.#images.get(key);
    if (cached) {
      this.#images.delete(key);
      this.#images.set(key, cached);
      return cached;
    }
    const pending = this.#pending.get(key) ?? this.#scale(key, scale);
    this.#pending.set(key, pending);
    return pending;
  }

  async #scale(key: string, scale: () => Promise<Buffer>): Promise<Buffer> {
    try {
      const image = await scale();
      this.#add(key, image);
      return image;
    } finally {
      this.#pending.delete(key);
    }
  }

  #add(key: string, image: Buffer): void {
    if (image.byteLength > MAX_SHARE * this.#maxBytes) return;
    this.#images.set(key, image);
    this.#bytes += image.byteLength;
    for (const [oldest, { byteLength }] of this.#images) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#images.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}
