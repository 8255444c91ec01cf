interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Batches under way at a time. Further items wait and share the next batch: load makes batches
 * larger.
 */
const MAX_CONCURRENT_BATCHES = 3;
/** Longest time that items wait for a batch under way to end; then they are sent beside it. */
const MAX_WAIT_MS = 20;

/**
 * Batches the items of one event-loop turn into one call, for example one script of Redis for all
 * requests of that turn. Each caller gets the answer of its own item. An error of the call rejects
 * all items of its batch.
 */
export class Batcher<Item, Answer> {
  readonly #maxBatch: number;
  readonly #send: (items: readonly Item[]) => Promise<readonly Answer[]>;
  readonly #maxWaitMs: number;
  #waiting: Waiting<Item, Answer>[] = [];
  #batchesUnderWay = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param maxBatch items in one call: a script of Redis holds up every other client
   * @param send resolves with one answer for each item, in their order
   * @param options.maxWaitMs instead of MAX_WAIT_MS
   */
  constructor(
    maxBatch: number,
    send: (items: readonly Item[]) => Promise<readonly Answer[]>,
    { maxWaitMs = MAX_WAIT_MS }: { readonly maxWaitMs?: number } = {},
  ) {
    this.#maxBatch = maxBatch;
    this.#send = send;
    this.#maxWaitMs = maxWaitMs;
  }

  /** Adds an item to the next batch and resolves with its answer. */
  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ item, resolve, reject }) === 1) setImmediate(() => this.#sendIfFree());
    });
  }

  /**
   * Sends waiting items while fewer than MAX_CONCURRENT_BATCHES are under way; the rest after a
   * pause.
   */
  #sendIfFree(): void {
    if (this.#waiting.length === 0) return;
    if (this.#batchesUnderWay < MAX_CONCURRENT_BATCHES) void this.#sendBatch();
    else this.#timer ??= setTimeout(() => void this.#sendBatch(), this.#maxWaitMs);
  }

  async #sendBatch(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting.splice(0, this.#maxBatch);
    this.#batchesUnderWay++;
    try {
      const sent = this.#send(batch.map(({ item }) => item));
      this.#sendIfFree();
      const answers = await sent;
      this.#endBatch();
      for (const [i, { resolve }] of batch.entries()) resolve(answers[i]);
    } catch (error) {
      this.#endBatch();
      for (const { reject } of batch) reject(error);
    }
  }

  #endBatch(): void {
    this.#batchesUnderWay--;
    this.#sendIfFree();
  }
}
