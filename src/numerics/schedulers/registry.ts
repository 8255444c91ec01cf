import { ddim } from './ddim.ts';
import {
  dpmSolverKarras,
  dpmSolverMultistep,
  sdeDpmSolverKarras,
  sdeDpmSolverMultistep,
} from './dpm-solver-multistep.ts';
import { euler, eulerKarras } from './euler.ts';
import { eulerAncestral } from './euler-ancestral.ts';
import { flowMatchEuler } from './flow-match-euler.ts';
import { lcm } from './lcm.ts';
import { pndm } from './pndm.ts';
import type { SchedulerConfig, SchedulerDefinition } from './scheduler.ts';
import { tcd } from './tcd.ts';
import { unipc } from './unipc.ts';

/** The schedulers that users can name. A new one is a file beside this and a line here. */
export const SCHEDULERS: readonly SchedulerDefinition[] = [
  ddim,
  pndm,
  euler,
  eulerKarras,
  eulerAncestral,
  dpmSolverMultistep,
  dpmSolverKarras,
  sdeDpmSolverMultistep,
  sdeDpmSolverKarras,
  unipc,
  lcm,
  tcd,
  flowMatchEuler,
];

/**
 * The scheduler of that name: ours, diffusers' class (`DDIMScheduler`) or what other programs call it ("DPM++ 2M Karras").
 * @throws Error that lists the accepted names
 */
export function findScheduler(name: string): SchedulerDefinition {
  const wanted = plain(name);
  const found = SCHEDULERS.find((scheduler) =>
    [scheduler.name, ...scheduler.classNames, ...scheduler.aliases].some((known) => plain(known) === wanted),
  );
  if (found) return found;
  const accepted = SCHEDULERS.map((scheduler) => scheduler.name).join(', ');
  throw new Error(`There is no scheduler "${name}"; there are ${accepted}, and diffusers' names for them.`);
}

/** The scheduler that a scheduler_config.json means; undefined: one that is not here. */
export function schedulerOf(config: SchedulerConfig): SchedulerDefinition | undefined {
  return SCHEDULERS.find(
    ({ classNames, isMeantBy }) => classNames.includes(String(config._class_name)) && (isMeantBy?.(config) ?? true),
  );
}

/** The schedulers that can be set up on that config. */
export function schedulersFor(config: SchedulerConfig): readonly SchedulerDefinition[] {
  return SCHEDULERS.filter((scheduler) => {
    try {
      scheduler.create(config, { steps: 4, eta: 0, imageSequenceLength: 1024 });
      return true;
    } catch {
      return false;
    }
  });
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]/g, '');
}
