import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/contract/schemas/job.ts';
import { decodePolicy } from '../../src/storage/policy-file.ts';
import { findSnippets, runSnippets, type SnippetOutput } from '../support/snippets.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const DOCUMENTS = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, snippets: findSnippets(readFileSync(join(ROOT, name), 'utf8')) }))
  .filter(({ snippets }) => snippets.length > 0);

let service: TestService;
const outputs = new Map<string, SnippetOutput>();

beforeAll(async () => {
  service = await startTestService();
  await service.startWorker();
});
afterAll(async () => service?.close());

function outputOf(name: string): SnippetOutput {
  const output = outputs.get(name);
  if (!output) throw new Error(`The snippets of ${name} were not run, or one of them failed.`);
  return output;
}

async function expectPng({ folder }: SnippetOutput, name: string): Promise<void> {
  expect((await readFile(join(folder, name))).subarray(1, 4).toString()).toBe('PNG');
}

describe('the marked snippets', () => {
  it.each(DOCUMENTS)('of $name run as they stand', async ({ name, snippets }) => {
    outputs.set(name, await runSnippets(snippets, service.url));
  });

  it('of README.md make a PNG, learn a policy and sample from it', async () => {
    const output = outputOf('README.md');
    await expectPng(output, 'dog.png');
    expect(output.stdout).toMatch(/^learned pol_[0-9a-z]{26}$/m);
    const images = readdirSync(output.folder).filter((name) => /^img_[0-9a-z]{26}\.png$/.test(name));
    expect(images).toHaveLength(4);
  });

  it('of docs/getting-started.md go from a job to pictures and to its policy file', async () => {
    const output = outputOf('docs/getting-started.md');
    const { stdout, folder } = output;
    expect(stdout).toMatch(/^job_[0-9a-z]{26}$/m);
    expect(stdout).toContain('event: done');
    expect(stdout).toMatch(/^img_[0-9a-z]{26}$/m);
    const jobs = stdout.split('\n').filter((line) => line.startsWith('{"object":"job"'));
    expect(JSON.parse(jobs[0]) as Job).toMatchObject({ status: 'succeeded', report: { draws: 32 } });
    await expectPng(output, 'rewards.png');
    await expectPng(output, 'picture.png');
    const policy = decodePolicy(await readFile(join(folder, 'policy.safetensors')), [4, 16, 16]);
    expect(policy.metadata).toMatchObject({ prompt: 'a red book and a yellow vase' });
  });
});
