import { ddim } from './ddim.ts';
import {
  dpmSolverMultistep,
  dpmSolverMultistepKarras,
  firstDpmSolverMultistep,
  firstSdeDpmSolverMultistep,
  sdeDpmSolverMultistep,
  sdeDpmSolverMultistepKarras,
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
  dpmSolverMultistepKarras,
  sdeDpmSolverMultistep,
  sdeDpmSolverMultistepKarras,
  firstDpmSolverMultistep,
  firstSdeDpmSolverMultistep,
  unipc,
  lcm,
  tcd,
  flowMatchEuler,
];

/** By every name that they go by; of two with one name the first. */
const BY_NAME = new Map(
  SCHEDULERS.toReversed().flatMap((scheduler) =>
    [scheduler.name, ...scheduler.classNames, ...scheduler.aliases].map(
      (name) => [simplify(name), scheduler] as const,
    ),
  ),
);

/**
 * The scheduler of that name: ours (`euler-ancestral`), diffusers' class (`EulerAncestralDiscreteScheduler`) or what it
 * is called elsewhere (`Euler a`, `euler_ancestral`). Throws an Error that lists our names.
 */
export function findScheduler(name: string): SchedulerDefinition {
  const found = BY_NAME.get(simplify(name));
  if (found === undefined) {
    const accepted = SCHEDULERS.map((scheduler) => scheduler.name).join(', ');
    throw new Error(`There is no scheduler named "${name}"; the accepted names are ${accepted}.`);
  }
  return found;
}

/** The scheduler that a `scheduler_config.json` means, or undefined where it is one that is not here. */
export function schedulerOf(config: SchedulerConfig): SchedulerDefinition | undefined {
  const { _class_name: className, algorithm_type: algorithm } = config;
  // One class of diffusers, several schedulers here: not all of them need noise.
  if (
    className === 'DPMSolverMultistepScheduler' &&
    typeof algorithm === 'string' &&
    /dpmsolver/.test(algorithm)
  ) {
    return SCHEDULERS.find(({ name }) => name === algorithm);
  }
  return SCHEDULERS.find(({ classNames }) => classNames.some((known) => known === className));
}

/** The schedulers that can be set up on that config, as for a picture of 1,024 tokens. */
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

/** Names are the same whatever their case, spaces, hyphens and underscores: "DPM++ 2M Karras" is "dpm++_2m_karras". */
function simplify(name: string): string {
  return name.toLowerCase().replace(/[\s_-]/g, '');
}
