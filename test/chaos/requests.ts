import type { JobRequest } from '../../src/contract/schemas/job.ts';
import { ownPath } from './check-webhooks.ts';
import type { MoodyReceiver } from './receiver.ts';

/** The jobs: small ones, of real graphs and rewards. */
const VARIANTS: readonly Pick<JobRequest, 'prompt' | 'seed' | 'optimizer' | 'samples'>[] = [
  { prompt: 'a green dog on the grass', seed: 1, optimizer: { name: 'elites', batchSize: 3 } },
  { prompt: 'a red book and a yellow vase', seed: 2, optimizer: { name: 'gp', batchSize: 3 } },
  { prompt: 'a blue car', seed: 3, optimizer: { name: 'genetic', batchSize: 3, population: 4 }, samples: 1 },
];

/** The different jobs, without anybody who is told. */
export const REQUESTS: readonly JobRequest[] = VARIANTS.map((request) => ({
  ...request,
  budget: { images: 15 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
}));

/** The request of the job of this number: what it does, and a webhook of its own. */
export function requestOf(number: number, receiver: MoodyReceiver): JobRequest {
  const path = ownPath(number);
  const webhook = { url: receiver.url(path), secret: receiver.secret(path) };
  return { ...REQUESTS[number % REQUESTS.length], webhook };
}
