import { setTimeout as sleep } from 'node:timers/promises';

/** A kind of request in a mix. */
export interface RequestKind {
  readonly name: string;
  /** Number of these requests in each round of the mix. */
  readonly share: number;
  /** Sends a request. False: the answer was wrong. */
  run(): Promise<boolean>;
}

/** Results of the requests of a kind. */
export interface KindResult {
  readonly name: string;
  /**
   * Milliseconds from the time at which a request was due to the end of its answer. The time
   * that it waits behind a slow request counts (no coordinated omission).
   */
  readonly latencies: readonly number[];
  readonly failed: number;
}

/**
 * Sends a mix of requests at a constant rate. Each is sent when it is due, even if earlier ones
 * have no answer yet.
 * @param rate requests a second, all kinds together
 */
export async function runPaced(
  kinds: readonly RequestKind[],
  rate: number,
  seconds: number,
): Promise<KindResult[]> {
  const round = interleave(kinds);
  const results = kinds.map(({ name }) => ({ name, latencies: [] as number[], failed: 0 }));
  const open = new Set<Promise<void>>();
  const began = performance.now();
  for (let i = 0; i < rate * seconds; i++) {
    const due = began + (1000 * i) / rate;
    const early = due - performance.now();
    if (early > 1) await sleep(early);
    const which = round[i % round.length];
    const done = send(kinds[which], results[which], due).finally(() => open.delete(done));
    open.add(done);
  }
  await Promise.all(open);
  return results;
}

async function send(
  kind: RequestKind,
  result: { latencies: number[]; failed: number },
  due: number,
): Promise<void> {
  const isRight = await kind.run().catch(() => false);
  result.latencies.push(performance.now() - due);
  if (!isRight) result.failed++;
}

/** Indexes of the kinds in the order of a round: each as often as its share, evenly spread. */
function interleave(kinds: readonly RequestKind[]): number[] {
  return kinds
    .flatMap(({ share }, which) =>
      Array.from({ length: share }, (_, i) => ({ which, at: (i + 0.5) / share })),
    )
    .sort((a, b) => a.at - b.at)
    .map(({ which }) => which);
}
