import { setTimeout as sleep } from 'node:timers/promises';

/** One kind of what is asked for. */
export interface Kind {
  readonly name: string;
  /** How many of each round. */
  readonly share: number;
  /** Whether it went as it should. */
  run(): Promise<boolean>;
}

export interface Paced {
  readonly name: string;
  /** From when it was due to the end of its answer, milliseconds: what waits because the one before it was slow counts. */
  readonly latencies: readonly number[];
  readonly failed: number;
}

/** Asks for all kinds by turns, `rate` times a second, for so long; each when it is due, whether or not those before have an answer. */
export async function paced(kinds: readonly Kind[], rate: number, seconds: number): Promise<Paced[]> {
  const round = interleave(kinds);
  const results = kinds.map(({ name }) => ({ name, latencies: [] as number[], failed: 0 }));
  const open = new Set<Promise<void>>();
  const began = performance.now();
  for (let i = 0; i < rate * seconds; i++) {
    const due = began + (1000 * i) / rate;
    const early = due - performance.now();
    if (early > 1) await sleep(early);
    const which = round[i % round.length];
    const done = ask(kinds[which], results[which], due).finally(() => open.delete(done));
    open.add(done);
  }
  await Promise.all(open);
  return results;
}

async function ask(kind: Kind, result: { latencies: number[]; failed: number }, due: number): Promise<void> {
  const isRight = await kind.run().catch(() => false);
  result.latencies.push(performance.now() - due);
  if (!isRight) result.failed++;
}

/** Places of kinds, each as often as its share, spread over the round. */
function interleave(kinds: readonly Kind[]): number[] {
  return kinds
    .flatMap(({ share }, which) =>
      Array.from({ length: share }, (_, i) => ({ which, at: (i + 0.5) / share })),
    )
    .sort((a, b) => a.at - b.at)
    .map(({ which }) => which);
}
