import type { Elite } from './elite.ts';

/** A noise that may become the centre of a component, and how its neighbours did. */
interface Candidate extends Elite {
  /** Sum of the rewards of the draws around it. */
  readonly sum: number;
  readonly draws: number;
}

/**
 * Which noises deserve to be centres of a law: a race of candidates by draws around them, as wide as those of the law. A noise's own reward is an
 * optimistic first guess of theirs, since it was chosen for it, so the one that looks best is tried until it does not any more (optimism in the face of
 * uncertainty, Lai and Robbins 1985). Of one founder's candidates one wins, so that centres stay apart.
 */
export class Trial {
  #candidates: Candidate[];

  constructor(candidates: readonly Elite[]) {
    this.#candidates = candidates.map((candidate) => ({ ...candidate, sum: 0, draws: 0 }));
  }

  /** Best candidates of the `count` best founders, best first. */
  best(count: number): readonly Elite[] {
    const best = new Map<number, Candidate>();
    for (const candidate of this.#candidates) {
      const rival = best.get(candidate.founder);
      if (!rival || score(candidate) > score(rival)) best.set(candidate.founder, candidate);
    }
    return [...best.values()].sort((a, b) => score(b) - score(a) || a.index - b.index).slice(0, count);
  }

  /** The candidate to draw around next: of the `count` best founders' the one that was tried least. */
  next(count: number, asked: ReadonlyMap<number, number>): Elite {
    const tried = ({ founder }: Elite) =>
      this.#candidates.reduce((sum, other) => sum + (other.founder === founder ? other.draws : 0), 0) +
      (asked.get(founder) ?? 0);
    return this.best(count).reduce((least, candidate) => (tried(candidate) < tried(least) ? candidate : least));
  }

  add(index: number, reward: number): void {
    this.#candidates = this.#candidates.map((candidate) =>
      candidate.index === index ? { ...candidate, sum: candidate.sum + reward, draws: candidate.draws + 1 } : candidate,
    );
  }

  /** Of each candidate, in their order. */
  results(): { sum: number; draws: number }[] {
    return this.#candidates.map(({ sum, draws }) => ({ sum, draws }));
  }

  static restore(candidates: readonly Elite[], results: readonly { sum: number; draws: number }[]): Trial {
    if (results.length !== candidates.length)
      throw new RangeError(`The state has results of ${results.length} candidates; there are ${candidates.length}.`);
    const trial = new Trial(candidates);
    trial.#candidates = candidates.map((candidate, i) => ({ ...candidate, ...results[i] }));
    return trial;
  }
}

function score({ reward, sum, draws }: Candidate): number {
  return (reward + sum) / (1 + draws);
}
