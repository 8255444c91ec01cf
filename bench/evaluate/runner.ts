import type { Cell, Run, Setup } from './record.ts';

/** What to run with; undefined: what the model or the service has as default. */
export interface Choice {
  readonly suite: string;
  readonly model: string | undefined;
  readonly reward: string | undefined;
  /** A second scorer that no search sees; null: none. */
  readonly unseen: string | null;
  /** Fresh draws of each distribution. */
  readonly draws: number;
}

/** Something that can run cells. */
export interface Runner {
  readonly setup: Setup;
  /** `onImages` is told of images as they are made. */
  run(cell: Cell, onImages: (count: number) => void): Promise<Run>;
  stop(): Promise<void>;
}
