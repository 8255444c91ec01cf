import { cpus } from 'node:os';

/** A line of the table; `met` is null where there is no target. */
export interface Row {
  readonly what: string;
  readonly value: string;
  readonly target: string;
  readonly met: boolean | null;
}

export function describeMachine(redisVersion: string): string {
  const [{ model }] = cpus();
  return `${cpus().length} cores (${model.trim()}), ${process.platform} ${process.arch}, Node.js ${process.version}, Redis ${redisVersion}`;
}

export const HEAD = '| what | value | target | met |\n| --- | --- | --- | --- |';

export function lineOf({ what, value, target, met }: Row): string {
  return `| ${what} | ${value} | ${target} | ${met === null ? '' : met ? 'yes' : 'no'} |`;
}
