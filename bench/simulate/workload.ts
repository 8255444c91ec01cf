import { philox4x32 } from '../../src/numerics/philox.ts';

/** A job that a simulation submits. */
export interface SimulatedJob {
  /** Position in the workload, from 0. */
  readonly number: number;
  readonly tenant: string;
  /** Simulated second in which it is submitted. */
  readonly arrivesAt: number;
  /** Simulated seconds. */
  readonly secondsPerImage: number;
}

/** Mean of `SimulatedJob.secondsPerImage`; the jobs differ by up to a half of it. */
export const SECONDS_PER_IMAGE = 8;
/** A tenant in this many has a long queue; each of the others has one job. */
const TENANTS_PER_LARGE = 10;
/** Part of the simulated time in which the single jobs arrive; later, workers may be free. */
const ARRIVALS = 0.8;

/** The jobs of a simulation. */
export interface Workload {
  /** Jobs of the large tenants in turn, submitted as fast as possible. */
  readonly backlog: readonly SimulatedJob[];
  /** The job of each small tenant, in the order of their arrival. */
  readonly arrivals: SimulatedJob[];
}

/** How many of the tenants have a long queue. */
export function largeTenants(tenants: number): number {
  return Math.max(1, Math.floor(tenants / TENANTS_PER_LARGE));
}

/**
 * Makes a workload, which depends on its parameters alone.
 * @param options.expectedSeconds simulated seconds that the workers need for all jobs
 */
export function makeWorkload(options: {
  readonly jobs: number;
  readonly tenants: number;
  readonly seed: number;
  readonly expectedSeconds: number;
}): Workload {
  const { jobs, tenants, seed, expectedSeconds } = options;
  const large = largeTenants(tenants);
  const small = Math.max(0, Math.min(tenants - large, jobs - large));
  const backlogSize = jobs - small;
  const job = makeJob.bind(null, seed);
  return {
    backlog: Array.from({ length: backlogSize }, (_, i) => job(i, `large-${i % large}`)),
    arrivals: Array.from({ length: small }, (_, i) => {
      const number = backlogSize + i;
      return job(number, `small-${i}`, uniform(seed, number, 1) * ARRIVALS * expectedSeconds);
    }).sort((a, b) => a.arrivesAt - b.arrivesAt),
  };
}

/** Endless jobs of one tenant. */
export function* endlessJobs(seed: number): Generator<SimulatedJob, never> {
  for (let number = 0; ; number++) yield makeJob(seed, number, 'reference');
}

function makeJob(seed: number, number: number, tenant: string, arrivesAt = 0): SimulatedJob {
  const secondsPerImage = SECONDS_PER_IMAGE * (0.5 + uniform(seed, number, 0));
  return { number, tenant, arrivesAt, secondsPerImage };
}

const words = new Uint32Array(4);

/** A number in [0, 1) that depends on its parameters alone. */
export function uniform(seed: number, index: number, stream: number): number {
  philox4x32(index, stream, 0, 0, seed % 2 ** 32, 0, words);
  return words[0] / 2 ** 32;
}
