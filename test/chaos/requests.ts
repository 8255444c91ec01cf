import type { JobRequest } from '../../src/contract/schemas/job.ts';
import { jobWebhookPath } from './check-webhooks.ts';
import type { UnreliableReceiver } from './unreliable-receiver.ts';

/** Small jobs with the embedded model and reward, one for each optimizer. */
const VARIANTS: readonly Pick<JobRequest, 'prompt' | 'seed' | 'optimizer' | 'samples' | 'parallelism'>[] = [
  { prompt: 'a green dog on the grass', seed: 1, optimizer: { name: 'elites', batchSize: 3 } },
  {
    prompt: 'a red book and a yellow vase',
    seed: 2,
    optimizer: { name: 'gp', batchSize: 3 },
    parallelism: 2,
  },
  { prompt: 'a blue car', seed: 3, optimizer: { name: 'genetic', batchSize: 3, population: 4 }, samples: 1 },
];

/** The different requests, without webhooks. */
export const REQUESTS: readonly JobRequest[] = VARIANTS.map((request) => ({
  ...request,
  budget: { images: 15 },
  sampler: { steps: 1, guidanceScale: 1 },
  reportDraws: 2,
}));

/** The request of the job with this number, with a webhook for that job. */
export function requestOf(number: number, receiver: UnreliableReceiver): JobRequest {
  const path = jobWebhookPath(number);
  const webhook = { url: receiver.url(path), secret: receiver.secret(path) };
  return { ...REQUESTS[number % REQUESTS.length], webhook };
}
