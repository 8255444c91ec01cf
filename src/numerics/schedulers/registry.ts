import { ddim } from './ddim.ts';
import {
  dpmSolver,
  dpmSolverPlusPlus,
  dpmSolverPlusPlusKarras,
  sdeDpmSolver,
  sdeDpmSolverPlusPlus,
  sdeDpmSolverPlusPlusKarras,
} from './dpm-solver-multistep.ts';
import { euler, eulerKarras } from './euler.ts';
import { eulerAncestral } from './euler-ancestral.ts';
import { flowMatchEuler } from './flow-match-euler.ts';
import { lcm } from './lcm.ts';
import { pndm } from './pndm.ts';
import type { SchedulerConfig, SchedulerDefinition } from './scheduler.ts';
import { tcd } from './tcd.ts';
import { unipc } from './unipc.ts';

/**
 * The schedulers that users can name. To add one, write a file beside this one and add its
 * definition to the list.
 */
export const SCHEDULERS: readonly SchedulerDefinition[] = [
  ddim,
  pndm,
  euler,
  eulerKarras,
  eulerAncestral,
  dpmSolverPlusPlus,
  dpmSolverPlusPlusKarras,
  sdeDpmSolverPlusPlus,
  sdeDpmSolverPlusPlusKarras,
  dpmSolver,
  sdeDpmSolver,
  unipc,
  lcm,
  tcd,
  flowMatchEuler,
];

/** All schedulers by all their names; if two share a name, the first one of the list has it. */
const BY_NAME = new Map(
  SCHEDULERS.toReversed().flatMap((scheduler) =>
    [scheduler.name, ...scheduler.classNames, ...scheduler.aliases].map(
      (name) => [normalizeName(name), scheduler] as const,
    ),
  ),
);

/**
 * Image tokens with which `listSchedulersFor` tries schedules that depend on the picture's size.
 */
const TYPICAL_SEQUENCE_LENGTH = 1024;

/**
 * The scheduler with this name: findery's (`euler-ancestral`), diffusers' class
 * (`EulerAncestralDiscreteScheduler`) or another program's (`Euler a`, `euler_ancestral`).
 * @throws Error that lists findery's names
 */
export function findScheduler(name: string): SchedulerDefinition {
  const found = BY_NAME.get(normalizeName(name));
  if (found === undefined) {
    const accepted = SCHEDULERS.map((scheduler) => scheduler.name).join(', ');
    throw new Error(`There is no scheduler named "${name}"; the accepted names are ${accepted}.`);
  }
  return found;
}

/**
 * The scheduler that a `scheduler_config.json` was made for; undefined if findery does not have it.
 */
export function findSchedulerByConfig(config: SchedulerConfig): SchedulerDefinition | undefined {
  const { _class_name: className, algorithm_type: algorithm } = config;
  // One class of diffusers is several schedulers here, because only some of them need noise.
  if (
    className === 'DPMSolverMultistepScheduler' &&
    typeof algorithm === 'string' &&
    /dpmsolver/.test(algorithm)
  ) {
    return SCHEDULERS.find(({ name }) => name === algorithm);
  }
  return SCHEDULERS.find(({ classNames }) => classNames.some((known) => known === className));
}

/** The schedulers that can be created with this config. */
export function listSchedulersFor(config: SchedulerConfig): readonly SchedulerDefinition[] {
  return SCHEDULERS.filter((scheduler) => {
    try {
      scheduler.create(config, { steps: 4, eta: 0, imageSequenceLength: TYPICAL_SEQUENCE_LENGTH });
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Removes differences in case, spaces, hyphens and underscores: "DPM++ 2M Karras" is
 * "dpm++_2m_karras".
 */
function normalizeName(name: string): string {
  return name.toLowerCase().replace(/[\s_-]/g, '');
}
