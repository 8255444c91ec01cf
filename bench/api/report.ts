import { cpus } from 'node:os';

/** A row of the table of results. */
export interface Row {
  readonly what: string;
  readonly value: string;
  readonly target: string;
  /** Whether the target is met; null: there is no target. */
  readonly met: boolean | null;
}

/** Processor, system and versions, for the heading of a result. */
export function describeMachine(redisVersion: string): string {
  const [{ model }] = cpus();
  return (
    `${cpus().length} cores (${model.trim()}), ${process.platform} ${process.arch}, ` +
    `Node.js ${process.version}, Redis ${redisVersion}`
  );
}

/** Heading of the Markdown table of rows. */
export const TABLE_HEAD = '| what | value | target | met |\n| --- | --- | --- | --- |';

/** A row as a line of the table. */
export function tableLine({ what, value, target, met }: Row): string {
  return `| ${what} | ${value} | ${target} | ${met === null ? '' : met ? 'yes' : 'no'} |`;
}
