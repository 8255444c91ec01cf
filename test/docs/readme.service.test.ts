import { execFile } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import { decodePolicy } from '../../src/storage/policy-file.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
  await service.startWorker();
});
afterAll(async () => service?.close());

it('the README’s curl lines work as they stand, up to a PNG from a policy', async () => {
  const readme = await readFile('README.md', 'utf8');
  const blocks = [...readme.matchAll(/<!-- curl -->\n```\n([\s\S]*?)```/g)].map(([, block]) => block);
  expect(blocks.length).toBeGreaterThanOrEqual(5);
  const folder = await mkdtemp(join(tmpdir(), 'findery-readme-'));
  const script = blocks.join('\n').replaceAll('http://127.0.0.1:8080', service.url);
  expect(script).toContain(service.url);
  const { stdout } = await promisify(execFile)('bash', ['-e', '-c', script], {
    cwd: folder,
    timeout: 240_000,
    maxBuffer: 1e7,
  });

  expect(stdout).toMatch(/^job_[0-9a-z]{26}\n/);
  expect(stdout).toContain('event: done');
  expect(stdout).toMatch(/img_[0-9a-z]{26}\n$/);
  const job = JSON.parse(stdout.split('\n').find((line) => line.startsWith('{')) as string) as Job;
  expect(job).toMatchObject({ status: 'succeeded', report: { draws: 32 } });
  for (const name of ['rewards.png', 'picture.png']) {
    expect((await readFile(join(folder, name))).subarray(1, 4).toString()).toBe('PNG');
  }
  expect(
    decodePolicy(await readFile(join(folder, 'policy.safetensors')), [4, 16, 16]).metadata,
  ).toMatchObject({
    prompt: 'a red book and a yellow vase',
  });
}, 300_000);
