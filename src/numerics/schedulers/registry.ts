import { ddim } from './ddim.ts';
import { dpmSolverMultistep } from './dpm-solver-multistep.ts';
import type { SchedulerDefinition } from './scheduler.ts';

/** The schedulers that users can name. A new one is a file beside this and a line here. */
export const SCHEDULERS: readonly SchedulerDefinition[] = [ddim, dpmSolverMultistep];

/** The scheduler of that name, ours or diffusers' (`DDIMScheduler`). Throws an Error that lists the accepted names. */
export function findScheduler(name: string): SchedulerDefinition {
  const found = SCHEDULERS.find((scheduler) => scheduler.name === name || scheduler.classNames.includes(name));
  if (found === undefined) {
    const accepted = SCHEDULERS.map((scheduler) => `${scheduler.name} (${scheduler.classNames.join(', ')})`);
    throw new Error(`There is no scheduler named "${name}"; the accepted names are ${accepted.join(' and ')}.`);
  }
  return found;
}
