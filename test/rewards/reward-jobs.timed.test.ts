import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Client } from '../../src/client/client.ts';
import { startScoringService, writeReward } from '../support/scoring-service.ts';
import { startTestService } from '../support/test-service.ts';

it('a slow reward service does not delay the cancellation of its job', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'findery-slow-reward-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const scorer = await startScoringService();
  onTestFinished(() => scorer.stop());
  await writeReward(folder, 'endless', { type: 'http', url: `${scorer.url}/slow`, timeoutSeconds: 600 });
  const service = await startTestService({
    FINDERY_MODELS: [join(process.cwd(), 'models'), folder].join(':'),
  });
  onTestFinished(() => service.close());
  const client = new Client(service.url);
  await service.startWorker();

  const job = await client.createJob({
    prompt: 'a green dog on the grass',
    budget: { images: 20 },
    sampler: { steps: 2, guidanceScale: 1 },
    reward: 'endless',
  });
  while ((await scorer.calls()).length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  const canceledAt = Date.now();
  await fetch(`${service.url}/v1/jobs/${job.id}/cancel`, { method: 'POST' });
  const ended = await client.follow(job, () => {});
  expect(ended.status).toBe('canceled');
  expect(Date.now() - canceledAt).toBeLessThan(3000);
});
