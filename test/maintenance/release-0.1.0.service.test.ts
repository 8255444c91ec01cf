import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import type { Policy } from '../../src/contract/schemas/policy.ts';
import { restore } from '../../src/maintenance/backup/restore.ts';
import { FileBlobs } from '../../src/storage/file-blobs.ts';
import { decodePolicy } from '../../src/storage/policy-file.ts';
import { type RecoverableService, startRecoverableService } from '../support/recoverable-service.ts';

/**
 * A backup that findery 0.1.0 wrote, and its answers about the things in it. The backup holds a job
 * that had succeeded, with its policy and samples, and a job that was paused after 50 of 60 images.
 */
const RELEASE = fileURLToPath(new URL('../fixtures/releases/0.1.0', import.meta.url));
const PAUSED_JOB = 'job_01m8gn5m96j89b7g1tytp3ys42';

const expected = async <T>(name: string): Promise<T> =>
  JSON.parse(await readFile(`${RELEASE}/${name}`, 'utf8')) as T;

let recoverable: RecoverableService;
const get = async <T>(path: string): Promise<T> => {
  const response = await fetch(new URL(path, recoverable.service.url));
  expect(response.status, path).toBe(200);
  return (await response.json()) as T;
};

beforeAll(async () => {
  recoverable = await startRecoverableService();
  const { store, blobs } = recoverable;
  await recoverable.loseRedis();
  await restore(store, blobs, new FileBlobs(`${RELEASE}/backup`), { force: true });
});
afterAll(() => recoverable.close());

describe('a backup of findery 0.1.0', () => {
  it('answers the same about a job that has ended, with what was added since', async () => {
    const job = await expected<Job>('job.json');
    const since = { parallelism: 1, progress: { ...job.progress, workers: 1 } };
    expect(await get(`/v1/jobs/${job.id}`)).toEqual({ ...job, ...since });
    expect(await get(`/v1/jobs/${job.id}/rewards`)).toEqual(await expected('rewards.json'));
  });

  it('answers the same about a policy, with `distribution` beside its earlier name', async () => {
    const policy = await expected<Omit<Policy, 'distribution'>>('policy.json');
    expect(await get(`/v1/policies/${policy.id}`)).toEqual({ ...policy, distribution: policy.law });
    const bytes = await recoverable.client.bytes(`/v1/policies/${policy.id}/parameters`);
    expect(Buffer.from(bytes).equals(await readFile(`${RELEASE}/policy.safetensors`))).toBe(true);
  });

  it('answers the same about samples, and their images are there', async () => {
    const sample = await expected<{ id: string; images: { url: string }[] }>('sample.json');
    expect(await get(`/v1/samples/${sample.id}`)).toEqual(sample);
    for (const { url } of sample.images)
      expect((await recoverable.client.bytes(url)).length).toBeGreaterThan(1000);
  });

  it('resumes a paused job from its checkpoint, whose optimizer has an earlier name', async () => {
    const job = await get<Job>(`/v1/jobs/${PAUSED_JOB}`);
    expect(job).toMatchObject({ status: 'paused', optimizer: { name: 'kriging' }, progress: { images: 50 } });
    const response = await fetch(new URL(job.urls.resume, recoverable.service.url), { method: 'POST' });
    expect(response.ok).toBe(true);
    const ended = await recoverable.client.follow(job, () => {});
    expect(ended).toMatchObject({ status: 'succeeded', progress: { images: 60 } });
    // Bits depend on the processor. Close numbers show that the search resumed its checkpoint.
    const rewards = await get<{ data: { reward: number }[] }>(`/v1/jobs/${PAUSED_JOB}/rewards`);
    const before = await expected<{ data: { reward: number }[] }>('resumed-rewards.json');
    expect(rewards.data.slice(0, 50)).toEqual(before.data.slice(0, 50));
    rewards.data.forEach(({ reward }, i) => {
      expect(reward).toBeCloseTo(before.data[i]?.reward ?? Number.NaN, 1);
    });
    const { distribution } = decodePolicy(
      await recoverable.client.bytes(`/v1/policies/${ended.policyId}/parameters`),
      null,
    );
    const { distribution: earlier } = decodePolicy(await readFile(`${RELEASE}/resumed.safetensors`), null);
    expect(distribution.shape).toEqual(earlier.shape);
    const largest = distribution.mean.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (earlier.mean[i] ?? Number.NaN))),
      0,
    );
    expect(largest).toBeLessThan(0.05);
  });
});
