import type { Cell, Run, Setup } from './records.ts';

/** Settings of all runs. Undefined: the default of the model or of the service. */
export interface RunSettings {
  readonly suite: string;
  readonly model: string | undefined;
  readonly reward: string | undefined;
  /** Scorer that no search uses; null: none. */
  readonly unseen: string | null;
  /** Held-out samples of each distribution. */
  readonly samples: number;
}

/** Runs cells, in this process, in another one or on a service. */
export interface Runner {
  readonly setup: Setup;
  /**
   * Runs a cell and judges the result.
   * @param onImages receives the number of images made since the last call
   */
  run(cell: Cell, onImages: (count: number) => void): Promise<Run>;
  stop(): Promise<void>;
}
