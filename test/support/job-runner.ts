import { expect } from 'vitest';
import { Client } from '../../src/client/client.ts';
import type { Job, JobRequest } from '../../src/contract/schemas/job.ts';
import type { TestService } from './test-service.ts';

/** How long a test waits for a status; other programs may leave it little of the processor. */
const STATUS_TIMEOUT_MS = 90_000;

/** Runs jobs on real workers and interferes with them. */
export function createJobRunner(service: Pick<TestService, 'url'>) {
  const client = new Client(service.url);
  const read = async (id: string) => (await (await fetch(`${service.url}/v1/jobs/${id}`)).json()) as Job;

  /** Follows a job to its end; `names` are its events, with the status for a status event. */
  const follow = async (job: Job, onIteration: (iteration: number) => void = () => {}) => {
    const names: string[] = [];
    const ended = await client.follow(job, (type, data) => {
      names.push(type === 'status' ? (data as Job).status : type);
      if (type === 'iteration') onIteration((data as { iteration: number }).iteration);
    });
    return { job: ended, names };
  };

  /** The bytes of a job's policy, in Base64. */
  const readPolicy = async ({ policyId }: Job) =>
    Buffer.from(await client.bytes(`/v1/policies/${policyId}/parameters`)).toString('base64');

  return {
    client,
    read,
    follow,
    readPolicy,
    /** Posts an action such as `pause`. */
    async act(id: string, action: string) {
      const response = await fetch(`${service.url}/v1/jobs/${id}/${action}`, { method: 'POST' });
      return { status: response.status, job: (await response.json()) as Job };
    },
    /** Waits until the job has this status. */
    waitForStatus: (id: string, status: Job['status']) =>
      expect
        .poll(async () => (await read(id)).status, { timeout: STATUS_TIMEOUT_MS, interval: 50 })
        .toBe(status),
    /** Waits until `isTrue`. */
    waitUntil: (isTrue: () => boolean) => expect.poll(isTrue, { timeout: STATUS_TIMEOUT_MS }).toBe(true),
    /** Runs a job to its end without interfering; the policy's bytes, in Base64. */
    runUndisturbed: async (request: JobRequest) =>
      readPolicy((await follow(await client.createJob(request))).job),
  };
}

/** A short job; an iteration takes well under a second. */
export const SHORT_JOB: JobRequest = {
  prompt: 'a green dog on the grass',
  seed: 7,
  optimizer: { name: 'elites', batchSize: 4 },
  budget: { images: 24 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
};
