interface Waiting<Work, Answer> {
  readonly work: Work;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls that are under way at a time. What comes meanwhile goes with the next one: the busier Redis is, the more goes into a call. */
const MOST_OPEN = 3;

/**
 * Does what is asked for in one turn of the event loop, or while enough calls are under way, in one call: the more requests there are at a time,
 * the less each of them costs.
 * Each gets its own answer; when the call fails, all of them fail with it.
 */
export class Together<Work, Answer> {
  readonly #most: number;
  readonly #send: (all: readonly Work[]) => Promise<readonly Answer[]>;
  #waiting: Waiting<Work, Answer>[] = [];
  #open = 0;

  /**
   * @param most that go into one call: Redis does nothing else meanwhile
   * @param send gives an answer for each, in their order
   */
  constructor(most: number, send: (all: readonly Work[]) => Promise<readonly Answer[]>) {
    this.#most = most;
    this.#send = send;
  }

  do(work: Work): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const count = this.#waiting.push({ work, resolve, reject });
      if (count === 1 && this.#open < MOST_OPEN) setImmediate(() => void this.#flush());
    });
  }

  async #flush(): Promise<void> {
    if (this.#waiting.length === 0 || this.#open === MOST_OPEN) return; // the call that ends next takes it along
    const all = this.#waiting.splice(0, this.#most);
    this.#open++;
    try {
      const answering = this.#send(all.map(({ work }) => work));
      void this.#flush(); // the rest, behind it
      const answers = await answering;
      this.#next();
      for (const [i, { resolve }] of all.entries()) resolve(answers[i]);
    } catch (error) {
      this.#next();
      for (const { reject } of all) reject(error);
    }
  }

  #next(): void {
    this.#open--;
    void this.#flush();
  }
}
