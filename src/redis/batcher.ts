interface Waiting<Work, Answer> {
  readonly work: Work;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls that are under way at a time. What comes meanwhile goes with the next one: the busier Redis is, the more goes into a call. */
const MOST_OPEN = 3;
/** Milliseconds after which what waits for one of them to end goes all the same. */
const PATIENCE = 20;

/**
 * Does what is asked for in one turn of the event loop, or while enough calls are under way, in one call: the more requests there are at a time,
 * the less each of them costs. Each gets its own answer; when the call fails, all of them fail with it.
 */
export class Batcher<Work, Answer> {
  readonly #most: number;
  readonly #send: (all: readonly Work[]) => Promise<readonly Answer[]>;
  readonly #patience: number;
  #waiting: Waiting<Work, Answer>[] = [];
  #open = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param most that go into one call: Redis does nothing else meanwhile
   * @param send gives an answer for each, in their order
   */
  constructor(
    most: number,
    send: (all: readonly Work[]) => Promise<readonly Answer[]>,
    { patience = PATIENCE }: { readonly patience?: number } = {},
  ) {
    this.#most = most;
    this.#send = send;
    this.#patience = patience;
  }

  add(work: Work): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ work, resolve, reject }) === 1) setImmediate(() => this.#go());
    });
  }

  /** Sends what waits, in as many calls as there may be; the rest goes when one of them ends, or patience does. */
  #go(): void {
    if (this.#waiting.length === 0) return;
    if (this.#open < MOST_OPEN) void this.#call();
    else this.#timer ??= setTimeout(() => void this.#call(), this.#patience);
  }

  async #call(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const all = this.#waiting.splice(0, this.#most);
    this.#open++;
    try {
      const answering = this.#send(all.map(({ work }) => work));
      this.#go();
      const answers = await answering;
      this.#ended();
      for (const [i, { resolve }] of all.entries()) resolve(answers[i]);
    } catch (error) {
      this.#ended();
      for (const { reject } of all) reject(error);
    }
  }

  #ended(): void {
    this.#open--;
    this.#go();
  }
}
