import type { BatchRun } from '../src/engine/messages.ts';

/** The time that the engine has spent on one job or batch of samples, over all attempts. */
export class EngineMeter {
  #milliseconds: number;

  /** @param earlier milliseconds of earlier attempts */
  constructor(earlier = 0) {
    this.#milliseconds = earlier;
  }

  /** Milliseconds in which the engine worked on this and on nothing else. */
  get milliseconds(): number {
    return this.#milliseconds;
  }

  /** Adds the batches of an evaluation. */
  add(batches: readonly BatchRun[]): void {
    for (const { stages } of batches) this.#milliseconds += stages.denoise + stages.decode + stages.reward;
  }
}
