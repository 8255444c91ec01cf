interface Waiting<Work, Answer> {
  readonly work: Work;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Does what is asked for in one turn of the event loop in one call: the more requests there are at a time, the less each of them costs.
 * Each gets its own answer; when the call fails, all of them fail with it.
 */
export class Together<Work, Answer> {
  readonly #most: number;
  readonly #send: (all: readonly Work[]) => Promise<readonly Answer[]>;
  #waiting: Waiting<Work, Answer>[] = [];

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
      if (count === this.#most) void this.#flush();
      else if (count === 1) setImmediate(() => void this.#flush());
    });
  }

  async #flush(): Promise<void> {
    const all = this.#waiting;
    if (all.length === 0) return; // it was full, and is sent
    this.#waiting = [];
    try {
      const answers = await this.#send(all.map(({ work }) => work));
      for (const [i, { resolve }] of all.entries()) resolve(answers[i]);
    } catch (error) {
      for (const { reject } of all) reject(error);
    }
  }
}
